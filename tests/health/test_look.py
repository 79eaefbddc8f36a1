"""mAP at zero, and all checks on folders of runs."""

from pathlib import Path
from typing import Any

import pytest

from launcher import health
from launcher.contract import RunPaths
from launcher.health import scores
from launcher.health.facts import Facts, read_facts
from launcher.storage import append_jsonl, read_json, write_json, write_text
from tests.report import made_run


def scored(*rows: tuple[int, float], target: float | None = None) -> Facts:
    return Facts(
        [made_run.train_row(rows[-1][0])],
        scores=[{"step": step, "mAP": value} for step, value in rows],
        global_batch=32,
        total_steps=200,
        target_map=target,
    )


def test_a_map_far_below_the_target() -> None:
    (finding,) = scores.behind(scored((100, 0.06), target=35.0))
    assert finding.name == "map-behind"
    assert "the best mAP is 6.00 of a target of 35 after 3,200 images" in finding.evidence
    assert scores.behind(scored((100, 0.08), target=35.0)) == []
    assert scores.behind(scored((90, 0.06), target=35.0)) == []


def test_a_map_that_stays_at_zero() -> None:
    (finding,) = scores.behind(scored((50, 0.0), (100, 0.0004)))
    assert "the best mAP is 0.04 after 3,200 images, 50% of the training" in finding.evidence
    assert "58% of their final mAP by half of it" in finding.evidence
    assert scores.behind(scored((50, 0.0), (90, 0.0))) == []  # too early to say
    assert scores.behind(scored((50, 0.0), (100, 0.05))) == []
    assert scores.behind(scored((50, 0.2), (100, 0.0))) == []  # not flat


def test_expected_shares_are_the_lowest_of_the_runs() -> None:
    assert scores.lowest_at(0.25) == 0.009
    assert scores.lowest_at(0.6) == 0.578
    assert scores.lowest_at(0.1) == 0.0  # nobody tells so early


def test_a_good_run_has_no_finding(tmp_path: Path) -> None:
    assert health.of_run(made_run.make(tmp_path)) == []


def test_a_run_of_which_there_is_nothing(tmp_path: Path) -> None:
    assert health.of_run(RunPaths(tmp_path)) == []
    write_text(RunPaths(tmp_path).pipeline, "nonsense {")
    assert health.of_run(RunPaths(tmp_path)) == []


def test_a_bad_run_has_its_findings_by_cost(tmp_path: Path) -> None:
    paths = made_run.make(tmp_path, points=0.0)
    for step in range(151, 201):
        row = made_run.train_row(step, 2, input_share=0.5, learning_rate=0.4)
        append_jsonl(paths.train_metrics, row)
    found = [finding.name for finding in health.of_run(paths)]
    assert found == ["rate-unlike-plan", "map-at-zero", "input-bound"]


@pytest.mark.parametrize(("state", "found"), [("RUNNING", ["slow-worker"]), ("SUCCEEDED", [])])
def test_workers_are_compared_while_they_run(tmp_path: Path, state: str, found: Any) -> None:
    paths = made_run.make(tmp_path)
    status = read_json(paths.status)
    write_json(paths.status, status | {"state": state})
    for worker, seconds in enumerate((0.2, 0.9)):
        beat = {"step": 200, "attempt": 1, "own_seconds": seconds}
        write_json(paths.progress(worker), beat)
    assert [finding.name for finding in health.of_run(paths)] == found
    write_json(paths.progress(1), {"step": 9, "attempt": 0, "own_seconds": 0.9})  # of a lost one
    assert health.of_run(paths) == []


@pytest.mark.parametrize(
    ("fine_tune", "known"),
    [
        (None, False),
        ({"checkpoint": "c", "kind": "classification"}, False),  # the heads are untrained
        ({"checkpoint": "c", "kind": "detection"}, True),
        ({"checkpoint": "c", "kind": "full"}, True),
    ],
)
def test_weights_of_a_detector_are_known_from_the_plan(
    tmp_path: Path, fine_tune: Any, known: bool
) -> None:
    paths = made_run.make(tmp_path, fine_tune=fine_tune)
    assert read_facts(paths).trained_before is known
