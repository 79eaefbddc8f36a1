"""Images that the worker could not train with are refused by the plan, with the file's line."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.errors import CliExit, SpecError
from launcher.odapi import pipeline
from launcher.planning import make_plan
from launcher.spec import load

EFFICIENTDET, FASTER_RCNN = "efficientdet_d0", "faster_rcnn_resnet50_v1_640"
SSD = "ssd_mobilenet_v2_fpnlite_320"


def published(recipe: str) -> Any:
    return pipeline.parse(pipeline.to_text(recipes.get(recipe).build()), place=recipe)


def refused(folder: Path, own: Any, *overrides: str) -> str:
    """All that is said, without the folder and the lines' numbers."""
    path = folder / "own.config"
    pipeline.write(path, own)
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, ("data.synthetic={}", *overrides)))
    assert caught.value.cli_exit == CliExit.USAGE
    places = [p.place.removeprefix(f"{path}:").partition(": ") for p in caught.value.problems]
    lines = path.read_text().splitlines()
    for line, _, field in places:
        assert field.rpartition(".")[2] in lines[int(line) - 1]
    return "\n".join(
        f"{field}: {p.what}. {p.remedy}"
        for (_, _, field), p in zip(places, caught.value.problems, strict=True)
    )


def planned(folder: Path, own: Any, *overrides: str) -> None:
    path = folder / "own.config"
    pipeline.write(path, own)
    make_plan(load(path, ("data.synthetic={}", *overrides)))


def test_records_that_the_decoder_does_not_know(tmp_path: Path) -> None:
    own = published(SSD)
    own.train_input_reader.input_type = 2
    own.train_input_reader.num_additional_channels = 1
    assert refused(tmp_path, own) == (
        "train_input_reader.input_type: TF_SEQUENCE_EXAMPLE: records of several frames are not "
        "read here. Convert each frame to an Example of its own, and remove input_type\n"
        "train_input_reader.num_additional_channels: 1: images of more than three channels are "
        "not read. Remove it"
    )
    own.train_input_reader.input_type = 1
    own.train_input_reader.num_additional_channels = 0
    planned(tmp_path, own)


@pytest.mark.parametrize(
    ("side", "choices"), [(600, "512 or 640"), (100, "128"), (576, "512 or 640")]
)
def test_sides_that_no_pyramid_halves(tmp_path: Path, side: int, choices: str) -> None:
    own = published(EFFICIENTDET)
    resizer = own.model.ssd.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = side
    assert refused(tmp_path, own) == (
        f"model.ssd.image_resizer: {side} pixels cannot be halved into the levels of the feature "
        f"pyramid (BiFPN). Use a multiple of 128: {choices}"
    )
    own.model.ssd.feature_extractor.pad_to_multiple = 128
    planned(tmp_path, own)


def test_sides_that_a_pyramid_halves(tmp_path: Path) -> None:
    """Also 1,020, whose levels have 128, 64, 32, 16 and 8 rows: the convolutions pad."""
    own = published(EFFICIENTDET)
    for side in (128, 384, 1020, 1536):
        resizer = own.model.ssd.image_resizer.fixed_shape_resizer
        resizer.height, resizer.width = 512, side
        planned(tmp_path, own)
    resizer.height = 500
    assert "500 pixels cannot be halved" in refused(tmp_path, own)
    own.model.ssd.image_resizer.keep_aspect_ratio_resizer.min_dimension = 512
    own.model.ssd.image_resizer.keep_aspect_ratio_resizer.max_dimension = 512
    assert "takes images of one shape only. Set pad_to_max_dimension: true" in refused(
        tmp_path, own, "batch.per_replica_batch=1"
    )


@pytest.mark.parametrize("recipe", [FASTER_RCNN, SSD])
def test_images_of_several_shapes_are_no_micro_batch(tmp_path: Path, recipe: str) -> None:
    own = published(recipe)
    kind = own.model.WhichOneof("model")
    part = getattr(own.model, kind)
    keep = part.image_resizer.keep_aspect_ratio_resizer
    keep.min_dimension, keep.max_dimension, keep.pad_to_max_dimension = 600, 1024, False
    found = refused(tmp_path, own, "batch.per_replica_batch=4")
    assert found == (
        f"model.{kind}.image_resizer: keep_aspect_ratio_resizer gives images of several shapes, "
        "4 of which cannot be one micro-batch. Set pad_to_max_dimension: true, or "
        "batch.per_replica_batch=1 (it accumulates)"
    )
    planned(tmp_path, own, "batch.per_replica_batch=1")
    keep.pad_to_max_dimension = True
    planned(tmp_path, own, "batch.per_replica_batch=4")
    part.image_resizer.identity_resizer.SetInParent()
    assert "identity_resizer gives images" in refused(tmp_path, own, "batch.per_replica_batch=2")


def test_all_that_is_wrong_at_once(tmp_path: Path) -> None:
    own = published(SSD)
    own.model.ssd.image_resizer.pad_to_multiple_resizer.multiple = 32
    own.train_config.data_augmentation_options.add()
    own.train_input_reader.sample_from_datasets_weights[:] = [0.9, 0.1]
    options = len(own.train_config.data_augmentation_options)
    assert refused(tmp_path, own, "batch.per_replica_batch=1").splitlines() == [
        "model.ssd.image_resizer: pad_to_multiple_resizer cannot be trained with. "
        "Use fixed_shape_resizer, or keep_aspect_ratio_resizer with padding",
        f"train_config.data_augmentation_options: number {options} of {options} names no step. "
        "Remove it, or write one, as random_horizontal_flip {}",
        "train_input_reader.sample_from_datasets_weights: 0.9, 0.1: files are not drawn by weight "
        "here. Remove it: each record is seen once an epoch, a file as often as it has records",
    ]
    own.model.ssd.image_resizer.ClearField("pad_to_multiple_resizer")
    own.model.ssd.image_resizer.SetInParent()
    assert "has no image_resizer" in refused(tmp_path, own)
