"""What `launcher init` prints: valid, published, and readable."""

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from launcher import recipes
from launcher.cli import main
from launcher.errors import UsageError
from launcher.planning import make_plan, missing_data
from launcher.records import expand
from launcher.spec import load, template

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", recipes.names())
def test_the_template_of_every_recipe_is_its_published_plan(name: str, tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(template(name))
    plan = make_plan(load(path))
    recipe = recipes.get(name)
    assert plan.recipe == name
    assert plan.global_batch == recipe.build().train_config.batch_size
    assert plan.target_map == recipe.published_map


@pytest.mark.parametrize("name", recipes.names())
def test_its_commented_settings_are_valid_too(name: str, tmp_path: Path) -> None:
    lines = template(name).splitlines()
    uncommented = [
        line.replace("# ", "", 1) if ": " in line and line.lstrip().startswith("# ") else line
        for line in lines
    ]
    settings = ("lr_scaling", "fine_tune", "sync_", "checkpoint_every", "target_map", "restart")
    kept = [
        new if new.strip().startswith(settings) else old
        for old, new in zip(lines, uncommented, strict=True)
    ]
    assert len([k for k, old in zip(kept, lines, strict=True) if k != old]) == 7
    path = tmp_path / "s.yaml"
    path.write_text("\n".join(kept))
    spec = load(path)
    assert spec.train.fine_tune_checkpoint == "/data/checkpoints/ckpt-0"


def test_the_template_of_d3_teaches() -> None:
    text = template("efficientdet_d3")
    assert "published COCO mAP 45.4" in text
    assert "global_batch: 128 " in text
    commands = re.findall(r"launcher ([a-z]+)", text)
    assert {"plan", "submit", "schema"} <= set(commands)
    for command in commands:  # it names no command that is not there
        assert main.run([*command.split(), "--help"]) == 0
    assert max(map(len, (line for line in text.splitlines() if "http" not in line))) <= 100


def test_what_it_says_of_convert_makes_the_files_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = template("efficientdet_d3").replace("/data/", f"{tmp_path}/data/")
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    commands = [line.split()[1:] for line in text.splitlines() if " -o " in line]
    assert len(commands) == 2
    for annotations, images, *options in commands:
        small_coco(Path(annotations), Path(images), 100)
        assert main.run(["data", "convert", annotations, images, *options]) == 0
    (tmp_path / "s.yaml").write_text(text)
    spec = load(tmp_path / "s.yaml")
    assert missing_data(spec) == []
    assert spec.data.train is not None
    assert spec.data.val is not None
    assert [len(expand(*p)) for p in (spec.data.train, spec.data.val)] == [100, 50]


def small_coco(annotations: Path, images: Path, count: int) -> None:
    """As COCO is distributed: one object in each of `count` images."""
    images.mkdir()
    numbers = range(1, count + 1)
    for number in numbers:
        Image.new("RGB", (8, 8)).save(images / f"{number}.jpg")
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "width": 8, "height": 8} for i in numbers],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": 0}
            for i in numbers
        ],
        "categories": [{"id": 1, "name": "person"}],
    }
    annotations.write_text(json.dumps(content))


def test_it_has_no_figures_of_small_batches_which_docs_recipes_measures() -> None:
    text = template("efficientdet_d3")
    assert re.findall(r"0\.\d+", text.replace("tolerance: 0.5", "")) == []
    (said,) = (line for line in text.splitlines() if "few images" in line)
    (page,) = re.findall(r"docs/\w+\.md", said)
    assert "images a statistic" in (ROOT / page).read_text()


def test_an_unknown_recipe_is_told() -> None:
    with pytest.raises(UsageError, match="efficientdet_d3"):
        template("efficientdet_d33")
