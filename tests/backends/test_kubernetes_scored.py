"""Whether this machine has the score of the last step of a run on a cluster."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher.backends.kubernetes import backend, folders
from launcher.backends.kubernetes.groups import Group
from launcher.contract import RunPaths
from launcher.storage import append_jsonl, write_json
from tests.backends.kubernetes_pods import seen

TOTAL = 40


def completed(seconds: float) -> Group:
    """An evaluator's Job since so many seconds."""
    at = datetime.fromtimestamp(time.time() - seconds, UTC)
    return Group(succeeded=True, ended=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def known(root: Path, evaluator: Group) -> tuple[bool | None, bool]:
    found = backend._with_score(seen(evaluator=evaluator), root, TOTAL)
    return found.scored, found.settled


def test_folder_that_is_mounted_here(tmp_path: Path) -> None:
    root = tmp_path / "d0"
    paths = RunPaths(root)
    old, new = completed(600), completed(1)
    assert known(root, old) == (None, True), "another folder, or none, is at its path"
    write_json(paths.plan, {})
    assert known(root, old) == (False, True)
    assert known(root, new) == (False, False), "NFS may not show it yet"
    for step in (20, TOTAL, 30):  # the last one scored once more, by hand
        append_jsonl(paths.eval_metrics, {"step": step, "mAP": 0.3})
    assert known(root, new) == (True, False)
    paths.eval_metrics.write_text(json.dumps({"step": TOTAL, "error": "damaged"}))
    assert known(root, old) == (False, True)


def test_copy_may_lack_what_was_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    root = folders._copies() / "c" / "default" / "d0"
    write_json(RunPaths(root).plan, {})
    assert known(root, completed(600)) == (None, True)
    append_jsonl(RunPaths(root).eval_metrics, {"step": TOTAL, "mAP": 0.3})
    assert known(root, completed(600)) == (True, True)
