"""What is wrong in a pipeline.config of one's own: refused by the plan, with its file and line."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.errors import CliExit, SpecError
from launcher.odapi import pipeline
from launcher.planning import make_plan
from launcher.spec import load

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
"""Matches no recipe."""


def demo() -> Any:
    return pipeline.read(DEMO)


def published(recipe: str = "ssd_mobilenet_v2_fpnlite_320") -> Any:
    return pipeline.parse(pipeline.to_text(recipes.get(recipe).build()), place=recipe)


def message_of(folder: Path, own: Any, *overrides: str) -> str:
    """The refusal of a plan, without the folder."""
    path = folder / "own.config"
    pipeline.write(path, own)
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, overrides))
    assert caught.value.cli_exit == CliExit.USAGE
    return str(caught.value).replace(f"{folder}/", "")


def line(folder: Path, text: str) -> int:
    """Of the only one in the file that holds `text`."""
    lines = (folder / "own.config").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return number


@pytest.mark.parametrize("own", [demo(), published()], ids=["alone", "of a recipe"])
@pytest.mark.parametrize("decay", [0, -1, 1, 1.5, float("nan")])
def test_an_average_that_is_none(tmp_path: Path, own: Any, decay: float) -> None:
    own.eval_config.use_moving_averages = True
    own.train_config.optimizer.use_moving_average = True
    own.train_config.optimizer.moving_average_decay = decay
    message = message_of(tmp_path, own, "data.synthetic={}")
    assert message == (
        f"own.config:{line(tmp_path, 'moving_average_decay')}: "
        f"train_config.optimizer.moving_average_decay: must be between 0 and 1, not {decay:g}. "
        "Use a number such as 0.9998, or eval_config.use_moving_averages: false"
    )
    # Not where it is not used.
    path = tmp_path / "own.config"
    spec = load(path, ("data.synthetic={}", "train.ema_decay=0.9"))
    assert make_plan(spec).worker_config.ema_decay == 0.9
    own.eval_config.use_moving_averages = False
    pipeline.write(path, own)
    assert make_plan(load(path, ("data.synthetic={}",))).worker_config.ema_decay is None
