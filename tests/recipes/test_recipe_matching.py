"""A pipeline.config finds its recipe by its model section, and by nothing else."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.odapi import pipeline
from launcher.odapi.protos import message
from launcher.recipes import Recipe
from launcher.recipes.matching import PRESENCE_COUNTS, fingerprint

each_recipe = pytest.mark.parametrize("recipe", list(recipes.all_recipes()), ids=recipes.names())


def d3() -> Any:
    return recipes.get("efficientdet_d3").build()


def name_of(config: Any) -> str | None:
    found = recipes.match(config)
    return found.name if found else None


def test_all_model_sections_differ() -> None:
    assert len({fingerprint(r.build()) for r in recipes.all_recipes()}) == 36


@each_recipe
def test_published_file_finds_its_recipe(recipe: Recipe, shared: Path) -> None:
    assert recipes.match(pipeline.read(shared / "zoo" / recipe.file)) is recipe


@each_recipe
def test_survives_being_written_and_read(recipe: Recipe, tmp_path: Path) -> None:
    pipeline.write(tmp_path / "pipeline.config", recipe.build())
    assert recipes.match(pipeline.read(tmp_path / "pipeline.config")) is recipe


def test_the_config_of_the_issue_is_efficientdet_d3(shared: Path) -> None:
    config = pipeline.read(shared / "seed" / "pipeline.config")
    assert config.train_config.batch_size == 2
    assert name_of(config) == "efficientdet_d3"


@each_recipe
def test_the_users_data_and_training_do_not_count(recipe: Recipe) -> None:
    config = recipe.build()
    architecture = getattr(config.model, config.model.WhichOneof("model"))
    architecture.num_classes = 3
    if "inplace_batchnorm_update" in architecture.DESCRIPTOR.fields_by_name:
        architecture.inplace_batchnorm_update = not architecture.inplace_batchnorm_update
    if "keypoint_label_map_path" in architecture.DESCRIPTOR.fields_by_name:
        architecture.keypoint_label_map_path = "my/map.pbtxt"
    for section in ("train_config", "train_input_reader", "eval_config", "eval_input_reader"):
        config.ClearField(section)
    assert recipes.match(config) is recipe


def test_matching_leaves_the_pipeline_alone() -> None:
    config = d3()
    assert name_of(config) == "efficientdet_d3"
    assert config == d3()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("feature_extractor.type", "ssd_efficientnet-b4_bifpn_keras"),
        ("feature_extractor.bifpn.num_filters", 161),
        ("feature_extractor.conv_hyperparams.batch_norm.decay", 0.9),
        ("image_resizer.keep_aspect_ratio_resizer.max_dimension", 512),
        ("post_processing.batch_non_max_suppression.max_total_detections", 200),
        ("freeze_batchnorm", True),
        ("add_background_class", True),
        ("loss.classification_loss.weighted_sigmoid_focal.gamma", 2.0),
    ],
)
def test_an_altered_model_is_no_recipe(path: str, value: Any) -> None:
    config = d3()
    *owners, field = path.split(".")
    target = config.model.ssd
    for owner in owners:
        target = getattr(target, owner)
    setattr(target, field, value)
    assert recipes.match(config) is None


def test_a_section_more_or_less_is_no_recipe() -> None:
    more, less = d3(), d3()
    more.model.ssd.loss.hard_example_miner.SetInParent()
    less.model.ssd.feature_extractor.conv_hyperparams.ClearField("batch_norm")
    assert recipes.match(more) is None
    assert recipes.match(less) is None


def test_a_default_left_out_or_written_out_is_the_same_model() -> None:
    config = d3()
    config.model.ssd.ClearField("freeze_batchnorm")  # published as false, the default
    config.model.ssd.feature_extractor.use_depthwise = False  # not in the file, the default
    assert name_of(config) == "efficientdet_d3"


def test_a_default_that_the_od_api_asks_for_is_another_model() -> None:
    resnet = recipes.get("centernet_resnet101_v1_fpn_512").build()
    resnet.model.center_net.feature_extractor.depth_multiplier = 1.0
    unweighted = d3()  # focal loss without alpha is not balanced at all
    unweighted.model.ssd.loss.classification_loss.weighted_sigmoid_focal.ClearField("alpha")
    assert recipes.match(resnet) is None
    assert recipes.match(unweighted) is None


def test_fields_whose_presence_counts_exist() -> None:
    for name in PRESENCE_COUNTS:
        owner, field = name.split(".")
        assert field in message(owner).DESCRIPTOR.fields_by_name


def test_an_empty_pipeline_is_no_recipe() -> None:
    empty = message("TrainEvalPipelineConfig")()
    assert recipes.match(empty) is None
    empty.model.ssd.SetInParent()
    assert recipes.match(empty) is None
    assert not empty.model.ssd.ListFields()
