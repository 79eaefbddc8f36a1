"""Every recipe against the published file and the published mAP."""

import csv
import re
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.odapi import pipeline
from launcher.recipes import Recipe

ALL = list(recipes.all_recipes())
each_recipe = pytest.mark.parametrize("recipe", ALL, ids=recipes.names())


@pytest.fixture(scope="module")
def zoo(shared: Path) -> Path:
    return shared / "zoo"


@pytest.fixture(scope="module")
def table(zoo: Path) -> dict[str, str]:
    """The model zoo's page: mAP by model name."""
    with (zoo / "published_map.tsv").open() as file:
        return {row["model"]: row["coco_map"] for row in csv.DictReader(file, delimiter="\t")}


def messages(message: Any) -> Iterator[Any]:
    """The message and all those in it, maps (of scalars) aside."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in [value] if hasattr(value, "ListFields") else value:
            yield from messages(inner)


def scalars(message: Any) -> Iterator[tuple[Any, str, Any]]:
    """(owner, field name, index or map key or None) of every scalar that is set."""
    for owner in messages(message):
        for field, value in owner.ListFields():
            if field.message_type is None and hasattr(value, "append"):
                yield from ((owner, field.name, i) for i in range(len(value)))
            elif field.message_type is None:
                yield owner, field.name, None
            elif field.message_type.GetOptions().map_entry:
                yield from ((owner, field.name, key) for key in list(value))


def read(owner: Any, name: str, index: Any) -> Any:
    value = getattr(owner, name)
    return value if index is None else value[index]


def assign(owner: Any, name: str, index: Any, value: Any) -> None:
    if index is None:
        setattr(owner, name, value)
    else:
        getattr(owner, name)[index] = value


def without_paths(message: Any) -> Any:
    """A copy in which every path to be configured reads the same."""
    copy = type(message)()
    copy.CopyFrom(message)
    for place in list(scalars(copy)):
        value = read(*place)
        if isinstance(value, str) and value.startswith("PATH_TO_BE"):
            assign(*place, "PATH")
    return copy


def paths(message: Any) -> list[str]:
    found = (read(*place) for place in scalars(message))
    return [v for v in found if isinstance(v, str) and v.startswith("PATH_TO_BE")]


def test_there_is_one_recipe_for_every_published_file(zoo: Path) -> None:
    assert sorted(r.file for r in ALL) == sorted(p.name for p in zoo.glob("*.config"))
    assert len(ALL) == 36


@each_recipe
def test_builds_the_published_message(recipe: Recipe, zoo: Path) -> None:
    published = pipeline.read(zoo / recipe.file)
    assert without_paths(recipe.build()) == without_paths(published)


@each_recipe
def test_keeps_the_published_paths_but_for_two_slips(recipe: Recipe, zoo: Path) -> None:
    expected = paths(pipeline.read(zoo / recipe.file))
    if recipe.name == "efficientdet_d7":
        assert "BEE" in expected[-1]
        expected[-1] = expected[-1].replace("BEE", "BE")
    if recipe.name == "centernet_hourglass104_512_kpts":
        assert "train2017" in expected[-1]  # it evaluates on the images that it trains on
        expected[-1] = "PATH_TO_BE_CONFIGURED/val2017-?????-of-00032.tfrecord"
    assert paths(recipe.build()) == expected


def other(value: Any, field: Any) -> Any:
    """A value that differs from `value` and that the field takes."""
    if field.enum_type is not None:
        return next(v.number for v in field.enum_type.values if v.number != value)
    if isinstance(value, bool):
        return not value
    return f"{value}x" if isinstance(value, str) else value + 1


@each_recipe
def test_the_comparison_notices_a_change_of_any_scalar(recipe: Recipe, zoo: Path) -> None:
    published = without_paths(pipeline.read(zoo / recipe.file))
    message = without_paths(recipe.build())
    places = list(scalars(message))
    lines = [line.strip() for line in pipeline.to_text(message).splitlines() if ": " in line]
    assert len(places) == len([line for line in lines if not line.startswith("key: ")])
    for owner, name, index in places:
        field = owner.DESCRIPTOR.fields_by_name[name]
        before = read(owner, name, index)
        assign(owner, name, index, before + 1 if isinstance(index, str) else other(before, field))
        assert without_paths(message) != published, name
        assign(owner, name, index, before)
    assert message == published


@each_recipe
def test_the_comparison_notices_any_field_that_is_left_out(recipe: Recipe, zoo: Path) -> None:
    published = without_paths(pipeline.read(zoo / recipe.file))
    message = without_paths(recipe.build())
    count = len(list(messages(message)))
    for number in range(count):
        for name in [f.name for f, _ in list(messages(message))[number].ListFields()]:
            altered = type(message)()
            altered.CopyFrom(message)
            list(messages(altered))[number].ClearField(name)
            assert altered != published, name


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return (*value[:-1], value[-1] + 1) if value and isinstance(value[-1], int) else ((7, 1.0),)
    if isinstance(value, str):
        pairs = {"plain": "strong", "strong": "plain", "momentum": "adam", "adam": "momentum"}
        return pairs.get(value, f"{value}x")
    return "sum" if value is None else value + 1


@each_recipe
def test_every_column_of_the_table_reaches_the_message(recipe: Recipe) -> None:
    built = recipe.build()
    for part in ("model", "training"):
        row: Any = getattr(recipe, part)
        for field in fields(row):
            if row is recipe.training and row.drops and field.name.startswith("warmup"):
                continue  # a schedule of drops has no warm-up
            mutant = replace(row, **{field.name: changed(getattr(row, field.name))})
            altered: Recipe = replace(recipe, **{part: mutant})
            assert altered.build() != built, f"{part}.{field.name}"


@each_recipe
def test_summary_is_that_of_the_published_file(recipe: Recipe, zoo: Path) -> None:
    train = pipeline.read(zoo / recipe.file).train_config
    optimizer = getattr(train.optimizer, f"{recipe.optimizer}_optimizer")
    assert train.optimizer.WhichOneof("optimizer") == f"{recipe.optimizer}_optimizer"
    assert (recipe.batch, recipe.total_steps) == (train.batch_size, train.num_steps)
    if recipe.schedule == "cosine":
        rate = optimizer.learning_rate.cosine_decay_learning_rate
        assert recipe.learning_rate == pytest.approx(rate.learning_rate_base)
        assert recipe.warmup_learning_rate == pytest.approx(rate.warmup_learning_rate)
        assert (recipe.warmup_steps, recipe.total_steps) == (rate.warmup_steps, rate.total_steps)
    else:
        rate = optimizer.learning_rate.manual_step_learning_rate
        assert recipe.learning_rate == pytest.approx(rate.initial_learning_rate)
        assert recipe.warmup_learning_rate == recipe.learning_rate
        assert recipe.warmup_steps == 0
        assert [step for step, _ in recipe.training.drops] == [s.step for s in rate.schedule]
        rates = [s.learning_rate for s in rate.schedule]
        assert [drop for _, drop in recipe.training.drops] == pytest.approx(rates)


@each_recipe
def test_input_is_that_of_the_published_file(recipe: Recipe, zoo: Path) -> None:
    model = pipeline.read(zoo / recipe.file).model
    resizer = getattr(model, model.WhichOneof("model")).image_resizer
    if resizer.HasField("fixed_shape_resizer"):
        sides = {resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width}
    else:
        kept = resizer.keep_aspect_ratio_resizer
        sides = {kept.min_dimension, kept.max_dimension}
    assert recipe.input == "-".join(map(str, sorted(sides)))


@each_recipe
def test_map_is_that_of_the_model_zoo_page(recipe: Recipe, table: dict[str, str]) -> None:
    boxes, _, second = table.get(recipe.title, "").partition("/")
    assert recipe.published_map == (float(boxes) if boxes else None)
    seconds = [recipe.published_keypoint_map, recipe.published_mask_map]
    assert [v for v in seconds if v is not None] == ([float(second)] if second else [])
    assert (recipe.published_keypoint_map is not None) == recipe.name.endswith("_kpts")
    assert (recipe.published_mask_map is not None) == recipe.name.startswith("mask_")


def test_rows_of_the_model_zoo_page_without_a_published_file(table: dict[str, str]) -> None:
    assert set(table) - {r.title for r in ALL} == {
        "CenterNet Resnet50 V1 FPN 512x512",
        "CenterNet Resnet50 V2 512x512",
        "CenterNet MobileNetV2 FPN 512x512",
        "CenterNet MobileNetV2 FPN Keypoints 512x512",
        "Faster R-CNN Inception ResNet V2 640x640",
        "Faster R-CNN Inception ResNet V2 1024x1024",
        "ExtremeNet (deprecated)",
        "ExtremeNet",
    }
    assert [r.name for r in ALL if r.title not in table] == ["faster_rcnn_resnet50_v1_fpn_640"]


@pytest.mark.parametrize(
    ("name", "published_map", "size"),
    [
        ("ssd_mobilenet_v2_320", 20.2, "300"),  # the file's comment: 22.2
        ("efficientdet_d6", 50.5, "1408"),  # the page's name: 1280x1280
        ("ssd_resnet101_v1_fpn_640", 35.6, "640"),  # 101 and 152 are swapped in the comments
        ("ssd_resnet152_v1_fpn_640", 35.4, "640"),
        ("faster_rcnn_resnet50_v1_fpn_640", None, "640"),  # the file's comment: 31.4
        ("mask_rcnn_inception_resnet_v2_1024", 39.0, "1024"),  # the file's comment: 40.4
        ("efficientdet_d3", 45.4, "896"),
        ("faster_rcnn_resnet50_v1_800x1333", 31.6, "800-1333"),
    ],
)
def test_where_files_and_page_disagree(name: str, published_map: float | None, size: str) -> None:
    recipe = recipes.get(name)
    assert (recipe.published_map, recipe.input) == (published_map, size)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("efficientdet_d0", 16),
        ("efficientdet_d3", 4),
        ("ssd_mobilenet_v2_320", 64),
        ("ssd_resnet50_v1_fpn_1024", 8),
        ("faster_rcnn_resnet50_v1_800x1333", 2),
        ("mask_rcnn_inception_resnet_v2_1024", 2),
        ("centernet_hourglass104_512", 16),
        ("centernet_hourglass104_512_kpts", 4),
    ],
)
def test_images_per_core(name: str, images: int) -> None:
    assert recipes.get(name).images_per_core == images


@each_recipe
def test_images_per_core_make_up_the_batch(recipe: Recipe) -> None:
    assert re.search(rf"_(tpu|gpu)-{recipe.cores}\.config$", recipe.file)
    assert recipe.images_per_core * recipe.cores == recipe.batch


@each_recipe
def test_sources_are_public_urls(recipe: Recipe) -> None:
    root = "https://github.com/tensorflow/models/blob/master/research/object_detection/"
    assert recipe.source == f"{root}configs/tf2/{recipe.file}"
    page = f"{root}g3doc/tf2_detection_zoo.md"
    assert recipe.map_source == (page if recipe.published_map is not None else None)


def test_each_build_is_a_message_of_its_own() -> None:
    recipe = recipes.get("centernet_hourglass104_512_kpts")
    first = recipe.build()
    first.model.center_net.num_classes = 3
    first.train_config.data_augmentation_options.pop()
    first.train_config.batch_size = 2
    assert recipe.build() == recipes.get(recipe.name).build() != first
    assert recipe.build().train_config.batch_size == 128


def test_all_builds_take_a_fraction_of_a_second() -> None:
    start = time.process_time()
    for recipe in ALL:
        recipe.build()
    assert time.process_time() - start < 0.5
