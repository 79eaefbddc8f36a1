"""recipe: what a user's own file keeps, and the recipe has otherwise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.preflight import Severity
from tests.preflight.own_files import found, only, own_file

NAME = "recipe"
SCRATCH = ("train.fine_tune_checkpoint=w/ckpt-0", "train.fine_tune_type=classification")


def without_flip(message: Any) -> None:
    del message.train_config.data_augmentation_options[0]


def without_any(message: Any) -> None:
    del message.train_config.data_augmentation_options[:]


def with_brightness(message: Any) -> None:
    message.train_config.data_augmentation_options.add().random_adjust_brightness.max_delta = 0.5


def other_scale(message: Any) -> None:
    options = message.train_config.data_augmentation_options
    (crop,) = (o for o in options if o.HasField("random_scale_crop_and_pad_to_square"))
    crop.random_scale_crop_and_pad_to_square.scale_max = 1.1


def momentum(message: Any) -> None:
    message.train_config.optimizer.momentum_optimizer.momentum_optimizer_value = 0.5


def clipping(message: Any) -> None:
    message.train_config.gradient_clipping_by_norm = 0.001


def no_decay(message: Any) -> None:
    message.train_config.add_regularization_loss = False


FLIP, CROP = "random_horizontal_flip", "random_scale_crop_and_pad_to_square"
OF_D3 = f"(efficientdet_d3: {FLIP}, {CROP})"
CHANGES: dict[Callable[[Any], None], str] = {
    without_flip: f"augmentation without {FLIP} {OF_D3}",
    without_any: f"augmentation without {FLIP}, {CROP} {OF_D3}",
    with_brightness: f"augmentation with random_adjust_brightness {OF_D3}",
    other_scale: f"augmentation other numbers in {CROP} {OF_D3}",
    momentum: "momentum_optimizer_value is 0.5, efficientdet_d3's is 0.9",
    clipping: "gradient_clipping_by_norm is 0.001, efficientdet_d3's is 0 (off)",
    no_decay: "add_regularization_loss is false, efficientdet_d3's is true",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("more", [(), ("batch.lr_scaling=none",)], ids=["scaled", "own"])
def test_what_stays_the_file_s_is_told(
    tmp_path: Path, change: Callable[[Any], None], more: tuple[str, ...]
) -> None:
    finding = only(own_file(tmp_path, change), *SCRATCH, *more, name=NAME)
    assert finding.evidence == CHANGES[change]
    assert finding.severity is Severity.WARNING
    assert finding.place.startswith("pipeline.config")


def test_the_line_is_named(tmp_path: Path) -> None:
    path = own_file(tmp_path, momentum)
    (line,) = (
        n
        for n, text in enumerate(path.read_text().splitlines(), 1)
        if "momentum_optimizer_value" in text
    )
    finding = only(path, *SCRATCH, name=NAME)
    assert finding.place == f"pipeline.config:{line}: train_config.momentum_optimizer_value"
    assert finding.remedy == "momentum_optimizer_value: 0.9"


@pytest.mark.parametrize("recipe", [recipe.name for recipe in recipes.RECIPES])
def test_published_files_have_nothing_to_tell(tmp_path: Path, recipe: str) -> None:
    assert found(own_file(tmp_path, recipe=recipe), name=NAME) == []


def test_other_data_may_want_another_augmentation(tmp_path: Path) -> None:
    asked = ("data.dataset=custom", "data.train_images=500", "data.val_images=50")
    finding = only(own_file(tmp_path, without_flip), *SCRATCH, *asked, name=NAME)
    assert finding.severity is Severity.INFO


def test_unshuffled_records_are_told_of_any_model(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.train_input_reader.shuffle = False
        message.model.ssd.box_coder.faster_rcnn_box_coder.y_scale = 3  # of no recipe

    finding = only(own_file(tmp_path, change), *SCRATCH, name=NAME)
    assert finding.severity is Severity.WARNING
    assert finding.evidence.startswith("shuffle: false: each epoch has the records in the order")


def test_another_optimizer_is_told_by_its_rate_alone(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        optimizer = message.train_config.optimizer
        rate = optimizer.momentum_optimizer.learning_rate
        optimizer.adam_optimizer.learning_rate.CopyFrom(rate)

    assert found(own_file(tmp_path, change), *SCRATCH, name=NAME) == []
