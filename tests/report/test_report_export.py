"""CSV and Markdown of a run."""

import csv
import io
from pathlib import Path

import pytest

from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.report import export
from tests.report import made_run


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return made_run.make(tmp_path, name="a|b")


def test_scores_as_csv(paths: RunPaths) -> None:
    half, last = csv.DictReader(io.StringIO(export.scores_csv(made_run.record(paths))))
    assert (half["step"], half["images_seen"], half["mAP"]) == ("100", "3200", "0.2")
    assert set(COCO_NUMBERS) < set(last)
    assert last["APl"] == ""  # -1 is no score
    assert (last["AP/square"], last["AP/star"]) == ("0.4", "")


def test_steps_as_csv_without_those_that_were_lost(paths: RunPaths) -> None:
    rows = list(csv.DictReader(io.StringIO(export.training_csv(made_run.record(paths)))))
    assert [int(r["step"]) for r in rows] == list(range(1, 201))
    assert [r["attempt"] for r in rows[99:101]] == ["0", "1"]
    assert float(rows[0]["Loss/classification_loss"]) > 2
    assert rows[0]["input_share"] == ""


def test_markdown(paths: RunPaths) -> None:
    text = export.markdown(made_run.record(paths))
    assert text.startswith("# a\\|b\n")
    assert "**reached**: mAP 40.0 at step 200 of 200 reaches the target of 35" in text
    assert "| mAP | 40.0 | AP, mean over IoU 0.50 to 0.95 |" in text
    assert "| star | - |" in text
    assert "| train images | 2,000 | 2,000 |  |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_no_text_breaks_a_markdown_table() -> None:
    (_, _, row) = export.markdown_table(("a",), [("x|y\n<b>*z*",)])
    assert row == "| x\\|y \\<b\\>\\*z\\* |"
