"""Where drawn data lies."""

import importlib
from pathlib import Path

from launcher.records.files import expand, shard_name
from launcher.spec import from_mapping, json_schema, shapes_of

BASE = {"name": "x", "recipe": "efficientdet_d3"}


def test_no_drawn_data_is_the_default() -> None:
    assert shapes_of(from_mapping(BASE)) is None


def test_the_folder_says_what_is_in_it(tmp_path: Path) -> None:
    data = {"synthetic": {"kind": "shapes", "image_size": 64, "seed": 3}}
    shapes = shapes_of(from_mapping({**BASE, "data": data, "run_dir": str(tmp_path)}))
    assert shapes is not None
    assert shapes.folder == tmp_path / "data" / "shapes-2000-200-64-3"
    assert shapes.label_map == str(shapes.folder / "label_map.pbtxt")


def test_the_patterns_match_the_shards_in_any_folder(tmp_path: Path) -> None:
    run_dir = tmp_path / "r [1] *"
    values = {**BASE, "data": {"synthetic": {}}, "run_dir": str(run_dir)}
    shapes = shapes_of(from_mapping(values))
    assert shapes is not None
    shapes.folder.mkdir(parents=True)
    for split, shards in (("train", shapes.train_shards), ("val", shapes.val_shards)):
        for i in range(shards):
            (shapes.folder / shard_name(split, i, shards)).write_text("x")
    assert len(expand(shapes.train)) == 4
    assert len(expand(shapes.val)) == 1


def test_the_limits_are_those_of_the_drawing() -> None:
    drawing = importlib.import_module("launcher.data.shapes")
    fields = json_schema()["$defs"]["Synthetic"]["properties"]
    assert fields["train_images"]["minimum"] == drawing.SHARDS["train"]
    assert fields["val_images"]["minimum"] == drawing.SHARDS["val"]
    size = fields["image_size"]
    assert (size["minimum"], size["maximum"]) == (drawing.MIN_IMAGE_SIZE, drawing.MAX_IMAGE_SIZE)


def test_the_classes_are_those_of_the_drawing() -> None:
    shapes = shapes_of(from_mapping({**BASE, "data": {"synthetic": {}}}))
    assert shapes is not None
    assert shapes.num_classes == len(importlib.import_module("launcher.data.drawing").CLASSES)
