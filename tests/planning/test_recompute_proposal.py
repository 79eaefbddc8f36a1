"""train.recompute is proposed where a larger micro-batch is what is missing."""

from typing import Any

from launcher.planning import make_plan
from launcher.spec import from_mapping


def proposed(recipe: str, per_replica_batch: int, **train: Any) -> bool:
    batch = {"per_replica_batch": per_replica_batch}
    plan = make_plan(
        from_mapping({"name": "run", "recipe": recipe, "batch": batch, "train": train})
    )
    assert plan.worker_config.recompute == train.get("recompute", False)
    return any("train.recompute: true" in warning for warning in plan.warnings)


def test_two_images_of_an_efficientdet_are_too_few() -> None:
    assert proposed("efficientdet_d0", 2)
    assert not proposed("efficientdet_d0", 32)


def test_it_is_not_proposed_to_who_has_it() -> None:
    assert not proposed("efficientdet_d0", 2, recompute=True)


def test_it_is_not_proposed_for_an_hourglass_which_has_no_backbone_to_cut() -> None:
    assert not proposed("centernet_hourglass104_512", 2)
