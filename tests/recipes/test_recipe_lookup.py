"""Names, nearest names and rows; and that looking them up loads nothing heavy."""

import json
import re
import subprocess
import sys

import pytest

from launcher import recipes
from launcher.errors import CliExit, UsageError

NAMES = """
efficientdet_d0 efficientdet_d1 efficientdet_d2 efficientdet_d3
efficientdet_d4 efficientdet_d5 efficientdet_d6 efficientdet_d7
ssd_mobilenet_v2_320 ssd_mobilenet_v2_fpnlite_320 ssd_mobilenet_v2_fpnlite_640
ssd_mobilenet_v1_fpn_640
ssd_resnet50_v1_fpn_640 ssd_resnet101_v1_fpn_640 ssd_resnet152_v1_fpn_640
ssd_resnet50_v1_fpn_1024 ssd_resnet101_v1_fpn_1024 ssd_resnet152_v1_fpn_1024
faster_rcnn_resnet50_v1_640 faster_rcnn_resnet101_v1_640 faster_rcnn_resnet152_v1_640
faster_rcnn_resnet50_v1_1024 faster_rcnn_resnet101_v1_1024 faster_rcnn_resnet152_v1_1024
faster_rcnn_resnet50_v1_800x1333 faster_rcnn_resnet101_v1_800x1333 faster_rcnn_resnet152_v1_800x1333
faster_rcnn_resnet50_v1_fpn_640
mask_rcnn_inception_resnet_v2_1024
centernet_hourglass104_512 centernet_hourglass104_1024 centernet_resnet101_v1_fpn_512
centernet_hourglass104_512_kpts centernet_hourglass104_1024_kpts
centernet_resnet50_v1_fpn_512_kpts centernet_resnet50_v2_512_kpts
"""


def test_names_stay_as_users_have_them_in_their_specs() -> None:
    assert recipes.names() == NAMES.split()


def test_names_are_short_unique_snake_case() -> None:
    names = recipes.names()
    assert len(set(names)) == len(names) == 36
    assert all(re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name) for name in names)
    assert all(len(name) <= 47 for name in names)  # a run may bear the name of its recipe
    assert [r.name for r in recipes.all_recipes()] == names


def test_get_finds_every_name() -> None:
    assert [recipes.get(name).name for name in recipes.names()] == recipes.names()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("efficientdet_d33", "efficientdet_d3"),
        ("EfficientDet-D3", "efficientdet_d3"),
        ("faster_rcnn_resnet50_v1", "faster_rcnn_resnet50_v1_640"),
        ("ssd_efficientdet_d3_896x896_coco17_tpu-32", "efficientdet_d3"),
        ("centernet_hourglass_512", "centernet_hourglass104_512"),
    ],
)
def test_an_unknown_name_gets_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(UsageError) as error:
        recipes.get(typed)
    problem = error.value.problems[0]
    assert repr(typed) in problem.what
    assert re.search(rf"\b{meant}\b", problem.remedy)
    assert "launcher recipes" in problem.remedy
    assert error.value.cli_exit is CliExit.USAGE


def test_a_published_files_name_leads_to_its_recipe_first() -> None:
    for recipe in recipes.all_recipes():
        with pytest.raises(UsageError, match=f"Did you mean {recipe.name}( or |\\?)"):
            recipes.get(recipe.file.removesuffix(".config"))


@pytest.mark.parametrize("typed", ["yolo", "", "  ", "\n", "x" * 10_000])
def test_a_name_like_no_other_gets_the_list(typed: str) -> None:
    with pytest.raises(UsageError) as error:
        recipes.get(typed)
    assert error.value.problems[0].remedy == "`launcher recipes` lists them all"


def test_rows_are_ready_for_json() -> None:
    rows = recipes.rows()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert [row["name"] for row in rows] == recipes.names()
    row = rows[recipes.names().index("efficientdet_d3")]
    assert row == {
        "name": "efficientdet_d3",
        "title": "EfficientDet D3 896x896",
        "input": "896",
        "batch": 128,
        "images_per_core": 4,
        "learning_rate": 0.08,
        "warmup_learning_rate": 0.001,
        "warmup_steps": 2500,
        "total_steps": 300_000,
        "schedule": "cosine",
        "optimizer": "momentum",
        "published_map": 45.4,
        "published_keypoint_map": None,
        "published_mask_map": None,
        "source": recipes.get("efficientdet_d3").source,
        "map_source": recipes.get("efficientdet_d3").map_source,
    }


def test_the_table_loads_no_heavy_module() -> None:
    code = (
        "import sys, launcher.recipes as r; r.names(); r.rows(); r.get('efficientdet_d0');"
        "print([m for m in ('google.protobuf', 'pydantic', 'numpy', 'tensorflow', 'difflib')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
