"""`launcher export` as a user meets it; what it writes: tests/evaluate/test_export.py."""

from pathlib import Path

from launcher.contract import RunPaths, write_json

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
