"""Every spec in configs/ loads and plans to the numbers that its head comment promises."""

from pathlib import Path

import pytest

import launcher

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "configs").glob("*.yaml"))


def test_the_four_examples_are_there() -> None:
    assert {c.stem for c in CONFIGS} == {
        "demo",
        "overfit-coco-tiny",
        "efficientdet_d0",
        "efficientdet_d3",
    }


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_every_example_plans(path: Path) -> None:
    plan = launcher.plan(launcher.load(path))
    batch = plan.replicas * plan.per_replica_batch * plan.accumulation_steps
    assert batch == plan.global_batch
    head = path.read_text()
    assert head.startswith("#")
    assert f"configs/{path.name}" in head, "the head names the command"


@pytest.mark.parametrize(("model", "published"), [("d0", 33.6), ("d3", 45.4)])
def test_published_recipes_are_kept(model: str, published: float) -> None:
    path = next(c for c in CONFIGS if c.stem == f"efficientdet_{model}")
    plan = launcher.plan(launcher.load(path))
    assert plan.accumulation_steps == 1
    assert (plan.global_batch, plan.learning_rate, plan.total_steps) == (128, 0.08, 300_000)
    assert plan.target_map == published
    assert plan.warnings == ()
