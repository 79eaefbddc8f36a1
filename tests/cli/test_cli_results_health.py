"""Health on the live line: by name in the line, in full once."""

from pathlib import Path
from typing import Any

import pytest

from launcher import backends
from launcher.backends.base import JobHandle, Progress, RunStatus
from launcher.cli import follow
from launcher.cli.texts import progress_line
from launcher.contract import Reason, State
from launcher.storage import append_jsonl
from tests.report import made_run


@pytest.fixture
def handle(tmp_path: Path) -> JobHandle:
    paths = made_run.make(tmp_path / "made")
    for step in range(181, 201):
        append_jsonl(paths.train_metrics, made_run.train_row(step, 2, input_share=0.4))
    return JobHandle("made", paths.root, backends.get("local"))


def test_a_finding_is_told_in_full_once(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    health = follow.Health(handle)
    assert health.newest() == []  # the first look comes after ten seconds
    monkeypatch.setattr(follow, "_HEALTH_SECONDS", 0.0)
    assert [finding.name for finding in health.newest()] == ["input-bound"]
    first, second = health.news()
    assert first == (
        "made: warning: input-bound: worker 0 waits for its images in 40% of a step (90.0 images/s)"
    )
    assert second.startswith("made:   cost: up to 40% of the time; no mAP; remedy: More cores")
    health.newest()
    assert health.news() == []


def test_the_line_has_its_name(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_HEALTH_SECONDS", 0.0)
    now = RunStatus(
        "made", handle.root, State.RUNNING, Reason.STARTED, step=200, total_steps=200,
        progress=Progress(loss=1.0),
    )  # fmt: skip
    assert progress_line(now, follow.Health(handle).newest()).endswith("  ! input-bound")
    assert "!" not in progress_line(now)
