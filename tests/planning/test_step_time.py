"""The step-time model: by hand on round numbers, at its limits, and by property."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.planning.step_time import (
    LINKS,
    Link,
    Replica,
    fit,
    ring_all_reduce,
    step_time,
)

quick = settings(deadline=None, max_examples=100)
GIGABYTE_LINK = Link(bytes_per_second=1e9, latency_seconds=1e-3)
REPLICA = Replica(per_image_seconds=0.1, fixed_seconds=0.05, update_seconds=0.02)
MILLION = 1_000_000  # parameters, of which 4 MB travel


def test_a_ring_of_four_sends_one_and_a_half_times_the_vector_in_six_hops() -> None:
    assert ring_all_reduce(1e9, 4, GIGABYTE_LINK) == pytest.approx(1.5 + 6e-3)


def test_a_ring_of_one_sends_nothing() -> None:
    assert ring_all_reduce(1e9, 1, GIGABYTE_LINK) == 0.0


def test_by_hand() -> None:
    """4 replicas x 2 images x 3 micro-batches, a million values over 1 GB/s and 1 ms."""
    step = step_time(
        REPLICA,
        replicas=4,
        per_replica_batch=2,
        accumulation_steps=3,
        parameters=MILLION,
        link=GIGABYTE_LINK,
    )
    assert step.images == 24
    assert step.compute == pytest.approx(3 * (0.05 + 0.2))
    assert step.all_reduce == pytest.approx(1.5 * 4e6 / 1e9 + 6e-3)
    assert (step.update, step.waiting) == (0.02, 0.0)
    assert step.total == pytest.approx(0.75 + 0.012 + 0.02)
    assert step.images_per_second == pytest.approx(24 / 0.782)


def test_one_all_reduce_a_step_whatever_the_accumulation() -> None:
    def reduced(accumulation: int) -> float:
        return step_time(
            REPLICA,
            replicas=8,
            per_replica_batch=2,
            accumulation_steps=accumulation,
            parameters=MILLION,
            link=GIGABYTE_LINK,
        ).all_reduce

    assert reduced(1) == reduced(64) > 0


def test_synchronized_moments_cost_two_small_all_reduces_a_layer_and_micro_batch() -> None:
    def compute(layers: int) -> float:
        return step_time(
            REPLICA,
            replicas=2,
            per_replica_batch=2,
            accumulation_steps=3,
            parameters=MILLION,
            link=GIGABYTE_LINK,
            synced_layers=layers,
        ).compute

    assert compute(60) - compute(0) == pytest.approx(3 * 60 * 2 * 2e-3)


def test_slow_input_is_waited_for_and_fast_input_is_hidden() -> None:
    def waiting(seconds: float) -> float:
        return step_time(
            replace(REPLICA, input_seconds=seconds),
            replicas=1,
            per_replica_batch=2,
            accumulation_steps=3,
            parameters=MILLION,
        ).waiting

    assert waiting(0.1) == 0.0  # 0.6 s of input behind 0.75 s of compute
    assert waiting(0.2) == pytest.approx(1.2 - 0.75)


def test_two_measured_sizes_give_the_fixed_cost() -> None:
    assert fit((8, 0.85), (2, 0.25)) == pytest.approx((0.1, 0.05))
    assert fit((2, 0.1), (8, 0.5))[1] == 0.0  # more than in proportion: there is none


@pytest.mark.parametrize("sizes", [((2, 0.1), (2, 0.2)), ((2, 0.3), (8, 0.2))])
def test_what_cannot_be_fitted_is_refused(
    sizes: tuple[tuple[int, float], tuple[int, float]],
) -> None:
    with pytest.raises(ValueError, match=r"needed|took"):
        fit(*sizes)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"replicas": 2, "link": None}, "2 replicas need a link"),
        ({"replicas": 0}, "replicas is 0"),
        ({"per_replica_batch": 0}, "per_replica_batch is 0"),
        ({"accumulation_steps": -1}, "accumulation_steps is -1"),
        ({"parameters": 0}, "parameters is 0"),
        ({"synced_layers": -1}, "synced_layers is -1"),
    ],
)
def test_wrong_numbers_are_named(wrong: dict[str, int], says: str) -> None:
    right = {
        "replicas": 2,
        "per_replica_batch": 2,
        "accumulation_steps": 2,
        "parameters": 10,
        "link": GIGABYTE_LINK,
    }
    with pytest.raises(ValueError, match=says):
        step_time(REPLICA, **{**right, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan])
def test_a_link_and_a_replica_have_a_speed(speed: float) -> None:
    with pytest.raises(ValueError, match="bytes_per_second"):
        Link(speed, 0.0)
    with pytest.raises(ValueError, match="per_image_seconds"):
        Replica(speed)


@quick
@given(
    st.integers(1, 512), st.integers(1, 64), st.integers(1, 64), st.integers(1, 10**9),
    st.sampled_from(sorted(LINKS)),
)  # fmt: skip
def test_never_faster_than_the_replicas_together(
    replicas: int, batch: int, accumulation: int, parameters: int, link: str
) -> None:
    def rate(count: int) -> float:
        return step_time(
            REPLICA,
            replicas=count,
            per_replica_batch=batch,
            accumulation_steps=accumulation,
            parameters=parameters,
            link=LINKS[link],
        ).images_per_second

    assert rate(replicas) <= replicas * rate(1) * (1 + 1e-12)


@quick
@given(st.integers(2, 10_000), st.integers(1, 10**10))
def test_the_wire_sees_at_most_twice_the_vector(members: int, size: int) -> None:
    """The bound that makes the ring good: whatever the number of members."""
    seconds = ring_all_reduce(size, members, Link(1.0, 0.0))
    assert size <= seconds <= 2 * size
