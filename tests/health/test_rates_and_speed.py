"""Rates unlike the plan, clipping, waiting: with the fault, and without it."""

from typing import Any

import pytest

from launcher.health import rates, speed
from launcher.health.facts import Facts
from tests.report.made_run import STEPS, WARMUP, rate, train_row


def facts(**more: Any) -> Facts:
    changed = more.pop("rows", {})
    last = more.pop("last", STEPS)
    rows = [train_row(step, **changed) for step in range(1, last + 1)]
    numbers: dict[str, Any] = {"global_batch": 32, "warmup_steps": WARMUP, "total_steps": STEPS}
    return Facts(rows, **(numbers | {"rate": rate} | more))


def test_the_planned_rate() -> None:
    good = facts()
    assert rates.unlike_plan(good) == []
    rows = [*good.rows[:-1], train_row(STEPS, learning_rate=0.01)]
    (finding,) = rates.unlike_plan(Facts(rows, rate=rate))
    assert finding.severity == "error"
    assert "applied the rate 0.01" in finding.evidence
    assert finding.place == "metrics/train.jsonl: steps 200 to 200"
    assert rates.unlike_plan(Facts(rows, rate=None)) == []


def test_steps_at_the_rate_zero() -> None:
    assert rates.nothing_left(facts()) == []
    (finding,) = rates.nothing_left(facts(rows={"learning_rate": 0.0}, last=150))
    assert "since step 1 of 200" in finding.evidence


@pytest.mark.parametrize(
    ("norm", "clip", "adaptive", "found"),
    [
        (23.0, 10.0, False, True),
        (23.0, 10.0, True, False),  # Adam divides the length out again
        (23.0, 0.0, False, False),  # no clipping
        (2.0, 10.0, False, False),
    ],
)
def test_a_gradient_that_is_always_clipped(
    norm: float, clip: float, adaptive: bool, found: bool
) -> None:
    told = rates.always_clipped(
        facts(rows={"gradient_norm": norm}, clip_norm=clip, adaptive=adaptive)
    )
    assert bool(told) is found
    if told:
        assert "norm is 23, gradient_clipping_by_norm is 10: 100%" in told[0].evidence
        assert "2.3 times shorter" in told[0].cost.text


def test_clipping_now_and_then_is_what_it_is_for() -> None:
    rows = [train_row(step, gradient_norm=50.0 if step % 8 == 0 else 2.0) for step in range(1, 201)]
    assert rates.always_clipped(Facts(rows, warmup_steps=WARMUP, clip_norm=10.0)) == []


def test_waiting_for_input() -> None:
    assert speed.input_bound(facts()) == []
    (finding,) = speed.input_bound(facts(rows={"input_share": 0.31}))
    assert "31% of a step (90.0 images/s)" in finding.evidence
    assert speed.input_bound(facts(rows={"input_share": None})) == []  # an older run
    assert speed.input_bound(facts(rows={"input_share": 0.9}, last=10)) == []  # too early


def beats(*own: float | None) -> list[dict[str, Any]]:
    return [
        {"worker": i, "own_seconds": seconds, "input_share": 0.25} for i, seconds in enumerate(own)
    ]


def test_one_slow_worker() -> None:
    assert speed.slow_worker(Facts([], beats=beats(0.20, 0.22, 0.21))) == []
    (finding,) = speed.slow_worker(Facts([], beats=beats(0.20, 0.22, 0.40)))
    assert finding.place == "progress/worker-2.json"
    assert "worker 2 needs 0.4 s for its gradients, 25% of it for its input" in finding.evidence
    assert finding.cost.text.startswith("up to 48% of the time")
    assert speed.slow_worker(Facts([], beats=beats(0.4))) == []
    assert speed.slow_worker(Facts([], beats=beats(0.2, None, 0.9))) == []  # one has not begun
