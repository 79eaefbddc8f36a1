"""schedule and learning-rate of what is no cosine: exponential, manual and constant ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from launcher.errors import SpecError
from launcher.planning import make_plan
from launcher.preflight import Finding
from launcher.spec import load
from tests.preflight.own_files import found, only, own_file

OWN = "batch.lr_scaling=none"
DECAY = """exponential_decay_learning_rate {{ initial_learning_rate: 0.08 decay_steps: {decay}
  decay_factor: {factor} burnin_learning_rate: {burnin} burnin_steps: 2500
  min_learning_rate: {least} staircase: {staircase} }}"""


def schedule(text: str) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        learning_rate = message.train_config.optimizer.momentum_optimizer.learning_rate
        learning_rate.Clear()
        text_format.Merge(text, learning_rate)

    return change


def decay(
    *,
    steps: int = 10_000,
    factor: str = "0.95",
    burnin: float = 0.001,
    least: float = 0.0,
    staircase: bool = True,
) -> str:
    return DECAY.format(
        decay=steps, factor=factor, burnin=burnin, least=least, staircase=str(staircase).lower()
    )


def about_decay(folder: Path, **changed: Any) -> list[Finding]:
    path = own_file(folder, schedule(decay(**changed)))
    mended, own = (found(path, *asked, name="schedule") for asked in ((), (OWN,)))
    assert [f.evidence for f in mended] == [f.evidence for f in own]
    assert all(f.remedy.startswith("Nothing: this run has") for f in mended)
    return own


def test_a_decay_that_falls_in_time_is_no_news(tmp_path: Path) -> None:
    assert about_decay(tmp_path) == []
    assert about_decay(tmp_path, burnin=0.08, least=0.07, staircase=False) == []


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (
            {"burnin": 0.8},
            "burnin_learning_rate 0.8 is above initial_learning_rate 0.08, for 2,500 steps",
        ),
        ({"factor": "1.05"}, "decay_factor 1.05 is above 1: the rate grows"),
        (
            {"steps": 300_000},
            "decay_steps 300,000: the first decay ends at step 302,500, the training at 300,000, "
            "with 100% of its peak rate",
        ),
        (
            {"steps": 297_500},
            "decay_steps 297,500: the first decay ends at step 300,000, the training at 300,000, "
            "with 100% of its peak rate",
        ),
        (
            {"steps": 600_000, "factor": "0.1", "staircase": False},
            "decay_steps 600,000: the first decay ends at step 602,500, the training at 300,000, "
            "with 32% of its peak rate",
        ),
        ({"least": 0.09}, "min_learning_rate 0.09 is not below initial_learning_rate 0.08"),
    ],
)
def test_a_decay_that_is_hardly_meant(tmp_path: Path, changed: Any, what: str) -> None:
    (finding,) = about_decay(tmp_path, **changed)
    assert finding.evidence == what
    field = what.partition(" ")[0]
    line = int(finding.place.split(":")[1])
    assert field in (tmp_path / "pipeline.config").read_text().splitlines()[line - 1]
    assert finding.place.endswith(f": train_config.{field}")


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf"])
def test_a_factor_that_leaves_no_rate_is_refused(tmp_path: Path, factor: str) -> None:
    path = own_file(tmp_path, schedule(decay(factor=factor)))
    with pytest.raises(SpecError, match=f"decay_factor is {factor}. Use one above 0 and up to 1"):
        make_plan(load(path, (OWN,)))


@pytest.mark.parametrize(
    ("text", "field", "remedy"),
    [
        (
            decay().replace("2500", "10"),
            "burnin_steps",
            "burnin_steps: 2500, below initial_learning_rate",
        ),
        (
            "manual_step_learning_rate { initial_learning_rate: 0.08"
            " schedule { step: 90000 learning_rate: 0.008 } }",
            "schedule",
            "warmup: true, and 2500 as the first step of schedule",
        ),
        (
            "constant_learning_rate { learning_rate: 0.08 }",
            "learning_rate",
            "cosine_decay_learning_rate with warmup_steps: 2500",
        ),
    ],
)
def test_the_warm_up_by_the_names_of_its_schedule(
    tmp_path: Path, text: str, field: str, remedy: str
) -> None:
    finding = only(own_file(tmp_path, schedule(text)), name="learning-rate")
    assert finding.evidence.startswith("the warm-up of ")
    assert finding.place.endswith(f": train_config.{field}")
    assert finding.remedy.endswith(f"Without launcher: {remedy}")
