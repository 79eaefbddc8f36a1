"""The arithmetic of a run: by example, at its edges, and by property."""

from fractions import Fraction

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from launcher.planning.arithmetic import (
    LARGEST,
    NotWholeError,
    Split,
    alternatives,
    as_float32,
    divisors_around,
    exact,
    largest_divisor,
    replica_count,
    scale_of,
    scaled_steps,
    split,
)

quick = settings(deadline=None, max_examples=200)
batches = st.integers(1, 4096)


@pytest.mark.parametrize(
    ("workers", "gpus", "replicas"), [(1, 0, 1), (1, 1, 1), (8, 4, 32), (3, 0, 3), (1000, 8, 8000)]
)
def test_a_worker_without_gpus_is_one_replica(workers: int, gpus: int, replicas: int) -> None:
    assert replica_count(workers, gpus) == replicas


def test_d3_on_32_gpus_needs_no_accumulation() -> None:
    assert split(128, replicas=32, per_replica_batch=4) == Split(32, 4, 1)


def test_the_seed_on_one_gpu_accumulates_64_times() -> None:
    assert split(128, replicas=1, per_replica_batch=2) == Split(1, 2, 64)


@pytest.mark.parametrize(
    ("global_batch", "replicas", "per_replica"), [(128, 3, 4), (128, 8000, 4), (2, 1, 4), (7, 2, 3)]
)
def test_a_division_with_a_rest_is_refused(
    global_batch: int, replicas: int, per_replica: int
) -> None:
    with pytest.raises(NotWholeError):
        split(global_batch, replicas, per_replica)


@pytest.mark.parametrize("numbers", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-128, 1, 2), (128, -1, 2)])
def test_zero_and_negative_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="is"):
        split(*numbers)
    with pytest.raises(ValueError, match="is"):
        alternatives(*numbers)


def test_huge_numbers_stay_exact() -> None:
    assert split(2**63, replicas=2**31, per_replica_batch=2).accumulation_steps == 2**31
    with pytest.raises(NotWholeError):
        split(2**63 + 1, replicas=2, per_replica_batch=1)
    assert scaled_steps(2**63, Fraction(1, 3)) == 3 * 2**63


def test_the_alternatives_for_3_gpus_of_4_images() -> None:
    found = alternatives(128, replicas=3, per_replica_batch=4)
    assert found.global_batches == (120, 132)
    assert found.replicas == (2, 4)
    assert found.per_replica_batches == ((3, 126), (6, 126))


def test_the_alternatives_keep_the_batch_when_replicas_divide_it() -> None:
    found = alternatives(128, replicas=4, per_replica_batch=5)
    assert found.global_batches == (120, 140)
    assert found.replicas == ()  # no number of replicas makes 5 images divide 128
    assert found.per_replica_batches == ((4, 128), (8, 128))


@given(batches, batches, batches)
@quick
def test_a_split_multiplies_back(global_batch: int, replicas: int, per_replica: int) -> None:
    try:
        found = split(global_batch, replicas, per_replica)
    except NotWholeError:
        assert global_batch % (replicas * per_replica)
    else:
        assert found.global_batch == global_batch
        assert found.accumulation_steps >= 1


@given(batches, batches, batches)
@quick
def test_every_alternative_is_valid(global_batch: int, replicas: int, per_replica: int) -> None:
    assume(global_batch % (replicas * per_replica))
    found = alternatives(global_batch, replicas, per_replica)
    for other in found.global_batches:
        assert split(other, replicas, per_replica).global_batch == other
        assert abs(other - global_batch) < replicas * per_replica
    for other in found.replicas:
        assert split(global_batch, other, per_replica).global_batch == global_batch
    for other, for_batch in found.per_replica_batches:
        assert split(for_batch, replicas, other).global_batch == for_batch
        assert abs(for_batch - global_batch) < replicas


@given(st.integers(1, 5000), st.integers(1, 5000))
@quick
def test_the_nearest_divisors_are_the_nearest(number: int, near: int) -> None:
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    below, above = [d for d in divisors if d < near], [d for d in divisors if d > near]
    assert divisors_around(number, near) == (*below[-1:], *above[:1])
    assert largest_divisor(number, near) == max(d for d in divisors if d <= near)


def test_divisors_of_the_largest_number_are_found() -> None:
    assert divisors_around(LARGEST, 2) == (1, LARGEST)  # it is a prime
    with pytest.raises(ValueError, match="not in"):
        divisors_around(LARGEST + 1, 2)


@given(st.integers(1, 10**6), batches, batches)
@quick
@example(steps=300_000, reference=128, global_batch=64)
def test_the_images_seen_are_the_references_or_less_than_a_batch_more(
    steps: int, reference: int, global_batch: int
) -> None:
    scaled = scaled_steps(steps, scale_of(global_batch, reference))
    more = scaled * global_batch - steps * reference
    assert 0 <= more < global_batch


@given(batches, batches, st.integers(1, 10**6))
@quick
def test_scaling_there_and_back_changes_nothing(a: int, b: int, rate: int) -> None:
    assert scale_of(a, b) * scale_of(b, a) == 1
    assert Fraction(rate, 1000) * scale_of(a, b) * scale_of(b, a) == Fraction(rate, 1000)


def test_half_the_batch_is_half_the_rate_and_twice_the_steps() -> None:
    scale = scale_of(64, 128)
    assert float(exact(as_float32(0.08)) * scale) == 0.04
    assert scaled_steps(300_000, scale) == 600_000
    assert scaled_steps(2_500, scale) == 5_000


@pytest.mark.parametrize("written", ["0.08", "0.001", "0.0266666", "0.8", "4e-05", "1e-07", "0"])
def test_a_rate_is_what_was_written_not_what_float32_made_of_it(written: str) -> None:
    assert exact(as_float32(float(written))) == Fraction(written)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@quick
def test_an_exact_number_is_still_the_same_float32(value: float) -> None:
    assert as_float32(float(exact(value))) == value


@given(st.integers(1, 999_999), st.integers(-8, 0))
@quick
def test_six_digits_survive_float32(digits: int, exponent: int) -> None:
    number = Fraction(digits) * Fraction(10) ** exponent
    assert exact(as_float32(float(number))) == number


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_a_number_has_no_exact_value(value: float) -> None:
    with pytest.raises(ValueError, match="not a number"):
        exact(value)


def test_what_float32_cannot_hold_is_infinite() -> None:
    assert as_float32(1e39) == float("inf")
    assert as_float32(-1e39) == -float("inf")
