"""The plans of an elastic run: other workers, the same step."""

from pathlib import Path

import pytest

from launcher import load, plan
from launcher.errors import SpecError
from launcher.planning import Plan
from launcher.planning.elastic import elastic_plans

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def planned(*overrides: str) -> Plan:
    return plan(load(DEMO, ["batch.per_replica_batch=4", "train.norm=batch", *overrides]))


def test_accumulation_makes_up_for_missing_workers() -> None:
    plans = elastic_plans(planned("cluster.workers={min: 1, max: 8}"))
    assert {n: (p.replicas, p.accumulation_steps) for n, p in plans.items()} == {
        8: (8, 1),
        4: (4, 2),
        2: (2, 4),
        1: (1, 8),
    }
    first = plans[8]
    for made in plans.values():
        assert made.worker_config.workers == made.workers == made.roles[0].count
        assert (made.global_batch, made.per_replica_batch) == (32, 4)
        assert made.learning_rate == first.learning_rate
        assert made.total_steps == first.total_steps


def test_the_most_that_divide_is_the_plan() -> None:
    assert planned("cluster.workers={min: 1, max: 7}").workers == 4


def test_a_range_without_any_count_that_divides_is_refused() -> None:
    with pytest.raises(SpecError, match="not a multiple"):
        planned("cluster.workers={min: 5, max: 7}")


def test_a_count_that_would_change_the_norm_is_passed_over() -> None:
    """One worker cannot share moments with others: auto would choose another norm there."""
    asked = load(DEMO, ["batch.per_replica_batch=4", "cluster.workers={min: 1, max: 4}"])
    assert list(elastic_plans(plan(asked))) == [4, 2]


def test_a_number_is_one_plan() -> None:
    assert list(elastic_plans(planned("cluster.workers=2"))) == [2]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{min: 3, max: 2}", "min 3 is more than max 2"),
        ("{min: 1, mx: 2}", "Did you mean max"),
        ("{min: 0, max: 2}", "cluster.workers.min: must be at least 1"),
        ("two", "must be a whole number"),
    ],
)
def test_bad_ranges_are_told_by_their_field(value: str, told: str) -> None:
    with pytest.raises(SpecError, match=told):
        load(DEMO, [f"cluster.workers={value}"])
