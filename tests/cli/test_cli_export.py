"""Weights in and out on the command line; what an export holds: tests/evaluate/test_export.py."""

import json
from pathlib import Path

from launcher.backends.base import RunStatus
from launcher.backends.status import write_status
from launcher.contract import Reason, RunPaths, State
from launcher.storage import write_json

from .conftest import Launcher


def test_a_run_without_a_checkpoint_is_one_message(launcher: Launcher, work: Path) -> None:
    root = work / "runs" / "d3"
    write_json(RunPaths(root).plan, {})
    done = launcher("export", "d3")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {root}/checkpoints: the run has no checkpoint yet. Train it first: the last step "
        "always has one\n"
    )
    assert [p.name for p in root.iterdir()] == ["plan.json"]
    assert launcher("export", "d4").stderr.startswith("error: d4: no such run in ./runs")


def test_status_says_where_the_weights_came_from(inside: Launcher, work: Path) -> None:
    root = work / "runs" / "d3"
    write_status(RunStatus("d3", root, State.FAILED, Reason.DIVERGED))
    assert "weights" not in inside("status", "d3").stdout
    assert json.loads(inside("status", "d3", "--json").stdout)["fine_tune"] is None
    record = {"restored": 683, "variables": 683, "checkpoint": "/zoo/ckpt-0", "type": "full"}
    write_json(RunPaths(root).fine_tune, record)
    assert (
        "  weights   683 of 683 variables from /zoo/ckpt-0 (full)" in inside("status", "d3").stdout
    )
    assert json.loads(inside("status", "d3", "--json").stdout)["fine_tune"] == record


def test_variables_are_listed_as_freeze_knows_them(inside: Launcher, work: Path) -> None:
    paths = RunPaths(work / "runs" / "d3")
    write_status(RunStatus("d3", paths.root, State.RUNNING, Reason.STARTED))
    done = inside("variables", "d3")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "error: d3: its workers have not built the model yet. `launcher st"
    )
    kernel = {"name": "backbone/Conv1/kernel", "shape": [3, 3, 3, 16], "parameters": 432}
    bias = {"name": "heads/Box/bias", "shape": [12], "parameters": 12}
    write_json(paths.variables, [kernel, bias])
    assert inside("variables", "d3").stdout.splitlines() == [
        "backbone/Conv1/kernel  [3, 3, 3, 16]",
        "heads/Box/bias         [12]",
        "2 variables, 444 parameters",
    ]
    for pattern in ("^backbone/", "^Conv1", "kernel$"):
        done = inside("variables", "d3", "--grep", pattern, "--json")
        assert json.loads(done.stdout) == [kernel]
    assert "is no regular expression" in inside("variables", "d3", "--grep", "(").stderr
