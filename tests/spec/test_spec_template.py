"""What `launcher init` prints: valid, published, and readable."""

import re
from pathlib import Path

import pytest

from launcher import recipes
from launcher.cli import main
from launcher.errors import UsageError
from launcher.planning import make_plan
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


def test_it_has_no_figures_of_small_batches_which_docs_recipes_measures() -> None:
    text = template("efficientdet_d3")
    assert re.findall(r"0\.\d+", text.replace("tolerance: 0.5", "")) == []
    (said,) = (line for line in text.splitlines() if "few images" in line)
    (page,) = re.findall(r"docs/\w+\.md", said)
    assert "images a statistic" in (ROOT / page).read_text()


def test_an_unknown_recipe_is_told() -> None:
    with pytest.raises(UsageError, match="efficientdet_d3"):
        template("efficientdet_d33")
