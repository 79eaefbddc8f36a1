"""train.recompute is proposed where a larger micro-batch is what is missing."""

from typing import Any

import pytest

from launcher.errors import SpecError
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


@pytest.mark.parametrize("recipe", ["centernet_hourglass104_512", "centernet_hourglass104_1024"])
def test_an_hourglass_is_refused_before_anything_starts(recipe: str) -> None:
    with pytest.raises(SpecError) as refused:
        proposed(recipe, 2, recompute=True)
    (problem,) = refused.value.problems
    assert "train.recompute" in problem.place
    assert problem.what == "CenterNet's hourglass has no backbone that can be recomputed"
    assert problem.remedy == "Remove the key"


def test_the_other_centernet_is_not() -> None:
    assert not proposed("centernet_resnet50_v2_512_kpts", 2, recompute=True)
