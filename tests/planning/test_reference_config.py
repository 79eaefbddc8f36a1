"""batch.reference_config: a recipe of one's own, for a model that no published one has."""

from pathlib import Path
from typing import Any

import pytest

from launcher.errors import SpecError
from launcher.odapi import pipeline
from launcher.planning import Plan, make_plan, table
from launcher.spec import load

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file with a batch of 2, eight times the rate that belongs to it, and its reference."""
    changed(tmp_path / "own.config", batch=2, rate=0.025, steps=1000)
    changed(tmp_path / "reference.config", batch=32, rate=0.05, steps=500)
    (tmp_path / "own.yaml").write_text(
        "name: own\npipeline_config: own.config\ndata: {synthetic: {}}\n"
        "batch: {reference_config: reference.config}\n"
    )
    return tmp_path


def changed(path: Path, *, batch: int, rate: float, steps: int, depth: float = 0.35) -> None:
    message: Any = pipeline.read(DEMO)
    message.model.ssd.feature_extractor.depth_multiplier = depth
    message.train_config.batch_size, message.train_config.num_steps = batch, steps
    momentum = message.train_config.optimizer.momentum_optimizer
    cosine = momentum.learning_rate.cosine_decay_learning_rate
    cosine.learning_rate_base, cosine.total_steps = rate, steps
    pipeline.write(path, message)


def plan_of(folder: Path, *overrides: str) -> Plan:
    return make_plan(load(folder / "own.yaml", overrides))


def test_batch_rate_and_steps_are_the_reference_s(folder: Path) -> None:
    plan = plan_of(folder)
    assert (plan.recipe, plan.reference_batch, plan.reference_is_recipe) == ("reference", 32, True)
    assert (plan.global_batch, plan.per_replica_batch, plan.accumulation_steps) == (32, 2, 16)
    assert (plan.learning_rate, plan.total_steps) == (0.05, 500)
    assert "your file's rate 0.025 at batch 2 is 8x the linear rule's 0.003125" in str(
        plan.warnings
    )


def test_it_scales_by_the_linear_rule(folder: Path) -> None:
    plan = plan_of(folder, "batch.global_batch=16")
    assert (plan.learning_rate, plan.total_steps, plan.warmup_steps) == (0.025, 1000, 160)


def test_without_scaling_the_file_s_own_numbers_are_kept_and_compared(folder: Path) -> None:
    plan = plan_of(folder, "batch.lr_scaling=none")
    assert (plan.global_batch, plan.learning_rate, plan.total_steps) == (2, 0.025, 1000)
    assert not plan.reference_is_recipe
    assert "2,000 of reference's 16,000 images: kept" in str(plan.warnings)


def test_it_has_no_published_map_and_tells_no_images_per_core(folder: Path) -> None:
    plan = plan_of(folder)
    assert (plan.target_map, plan.data.dataset) == (None, "custom")
    row = next(row for row in table(plan) if row.quantity == "images per replica")
    assert row.recipe == ""


def test_another_model_is_refused(folder: Path) -> None:
    changed(folder / "reference.config", batch=32, rate=0.05, steps=500, depth=0.5)
    with pytest.raises(SpecError) as caught:
        plan_of(folder)
    assert str(caught.value).startswith(f"{folder / 'own.yaml'}:4: batch.reference_config: ")
    assert "has another model section than" in str(caught.value)


def test_a_missing_file_is_named_with_its_key(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"batch.reference_config: .*gone.config: no such file"):
        plan_of(folder, "batch.reference_config=gone.config")


def test_a_recipe_has_its_own_reference(folder: Path) -> None:
    (folder / "d3.yaml").write_text(
        "name: d3\nrecipe: efficientdet_d3\nbatch: {reference_config: reference.config}\n"
    )
    with pytest.raises(SpecError, match="belongs to a pipeline_config of one's own"):
        load(folder / "d3.yaml")
