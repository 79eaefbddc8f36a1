"""On 80 + 80 real COCO images: what is really there, nothing invented."""

from pathlib import Path
from typing import Any

import pytest

from launcher.data import convert
from launcher.planning import make_plan
from launcher.preflight import Severity, data_findings
from launcher.spec import from_mapping


@pytest.fixture(scope="module")
def coco_tiny(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As records: train and val in two files each."""
    folder = tmp_path_factory.mktemp("coco")
    source = shared / "coco_tiny"
    for name in ("train", "val"):
        annotations = source / "annotations" / f"instances_{name}2017.json"
        convert(annotations, source / f"{name}2017", folder / name, name, 2, processes=1)
    return folder


def findings(folder: Path, recipe: str, **more: Any) -> set[tuple[str, str]]:
    data = {
        "train": str(folder / "train" / "train.record-*"),
        "val": str(folder / "val" / "val.record-*"),
        "label_map": str(folder / "train" / "label_map.pbtxt"),
        "dataset": "custom",
    }
    spec = from_mapping({"name": "x", "recipe": recipe, "data": data | more}, folder=folder)
    found = data_findings(make_plan(spec), progress=False).findings
    assert {f.severity for f in found} <= {Severity.INFO}, found
    return {(f.name, f.evidence) for f in found}


CROWDS = {
    ("boxes", "6 of 705 train objects are crowds, in 5 images: 0.85 %"),
    ("boxes", "11 of 815 val objects are crowds, in 11 images: 1.3 %"),
}


def test_a_large_input_misses_few(coco_tiny: Path) -> None:
    assert findings(coco_tiny, "efficientdet_d3", train_images=80, val_images=80) == CROWDS | {
        (
            "boxes",
            "15 % of 699 train objects have no anchor over 0.5 IoU at 896 x 896 px: 12 % are "
            "smaller than the smallest anchor (32 px)",
        ),
    }


def test_a_small_input_has_tiny_objects(coco_tiny: Path) -> None:
    assert findings(coco_tiny, "ssd_mobilenet_v2_fpnlite_320") == CROWDS | {
        (
            "boxes",
            "41 % of 699 train objects have no anchor over 0.5 IoU at 320 x 320 px: 38 % are "
            "smaller than the smallest anchor (32 px)",
        ),
        (
            "boxes",
            "12 of 699 train objects are smaller than 4 x 4 px at 320 x 320 px: 1.7 %; the "
            "smallest has 2.4 px",
        ),
    }


def test_without_anchors_there_is_nothing_about_them(coco_tiny: Path) -> None:
    found = findings(coco_tiny, "centernet_hourglass104_512") - CROWDS
    assert found == {
        (
            "boxes",
            "4 of 699 train objects are smaller than 4 x 4 px at 512 x 512 px: 0.57 %; the "
            "smallest has 3.1 px",
        ),
    }
