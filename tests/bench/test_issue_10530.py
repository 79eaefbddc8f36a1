"""What `make issue-10530` concludes of the runs that are there; nothing is trained."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from launcher.storage import append_jsonl

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The command's module, with runs of its own."""
    monkeypatch.setattr(sys, "path", [str(BENCH), *sys.path])
    import issue_10530

    monkeypatch.setattr(issue_10530, "WORK", tmp_path)
    return issue_10530


def concluded(
    bench: ModuleType,
    capsys: pytest.CaptureFixture[str],
    scores: Mapping[str, float],
    seeds: tuple[int, ...] = (0, 1),
) -> tuple[int, list[str]]:
    """Exit code and printed lines, of rows as a run leaves them."""
    for name, score in scores.items():
        append_jsonl(bench.WORK / "results.jsonl", {"name": name, "mAP": score})
    code = bench.conclude(bench.measured(), seeds)
    return code, capsys.readouterr().out.splitlines()


def story(theirs: float, mended: float, reference: float = 0.75) -> dict[str, float]:
    """Two seeds about these means."""
    means = {"reference": reference, "theirs": theirs, "accumulation": 0.5, "mended": mended}
    return {
        f"{name}-{seed}": max(0.0, mean + shift)
        for name, mean in means.items()
        for seed, shift in ((0, -0.01 if mean else 0.0), (1, 0.01 if mean else 0.0))
    }


@pytest.mark.parametrize(
    ("theirs", "mended", "code"),
    [
        (0.04, 0.80, 0),
        (0.249, 0.601, 0),  # a third, and 0.8
        (0.251, 0.80, 1),
        (0.04, 0.599, 1),
        (0.60, 0.40, 1),
    ],
)
def test_both_expectations_decide_the_exit_code(
    bench: ModuleType,
    capsys: pytest.CaptureFixture[str],
    theirs: float,
    mended: float,
    code: int,
) -> None:
    left, lines = concluded(bench, capsys, story(theirs, mended))
    assert left == code
    assert lines[-3].startswith(f"theirs: {theirs:.3f}, {theirs / 0.75:.2f} of the reference's")
    assert lines[-3].endswith("(at most 0.33)")
    assert ("NOT as expected" in lines[-3]) is (theirs > 0.25)
    assert lines[-2].endswith("(at least 0.80)")
    assert ("NOT as expected" in lines[-2]) is (mended < 0.6)


def test_the_last_line_is_json(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines = concluded(bench, capsys, story(0.04, 0.69))
    assert json.loads(lines[-1]) == {
        "name": "issue_10530",
        "ratio": pytest.approx(0.92),
        "ours": pytest.approx(0.69),
        "peer": pytest.approx(0.75),
        "unit": "mAP, mended against reference",
    }


def test_a_reference_that_learned_nothing_proves_nothing(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    left, lines = concluded(bench, capsys, story(0.0, 0.0, reference=0.0))
    assert left == 1
    assert all("NOT as expected" in line for line in lines[-3:-1])
    assert json.loads(lines[-1])["ratio"] is None


def test_unfinished_runs_are_named_and_not_judged(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command can be stopped and given again."""
    scores = story(0.7, 0.1)
    del scores["mended-1"], scores["accumulation-0"]
    left, lines = concluded(bench, capsys, scores)
    assert (left, lines[-2]) == (0, "not all runs are there: accumulation-0, mended-1")
    assert json.loads(lines[-1])["ours"] == pytest.approx(0.09)
    left, _ = concluded(bench, capsys, {"mended-1": 0.11, "accumulation-0": 0.5})
    assert left == 1  # now they are there


def test_nothing_was_trained_yet(bench: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    left, lines = concluded(bench, capsys, {})
    assert left == 0
    assert json.loads(lines[-1])["ratio"] is None
