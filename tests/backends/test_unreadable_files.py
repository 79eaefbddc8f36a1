"""Files of a run that cannot be read, for a moment or for good, as on a network file system.

/proc/self/mem is such a file: to read its first byte fails with EIO, whoever does so.
"""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import storage
from launcher.backends.base import RunStatus
from launcher.backends.ray.channel import Channel, reset_control, stops
from launcher.backends.status import heartbeats, write_status
from launcher.cli.main import run
from launcher.contract import Reason, RunPaths, State
from launcher.errors import StorageError
from launcher.evaluate import follow
from launcher.storage import peek_json, read_json, read_jsonl, write_json

from .conftest import MakeJob
from .test_local_supervisor import Start, ended

UNREADABLE = "/proc/self/mem"


def broken(path: Path) -> Path:
    """The file, as one whose disk does not answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(UNREADABLE)
    return path


@pytest.mark.parametrize("read", [read_json, read_jsonl])
def test_a_file_that_cannot_be_read_is_one_message(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = broken(tmp_path / "file")
    with pytest.raises(StorageError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: cannot read (Input/output error). ")
    assert peek_json(path) is None
    assert not read(tmp_path / "no-such-file"), "which is another thing"
    assert not read(path / "below-a-file")


def test_a_file_that_can_be_read_again_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_AGAIN_SECONDS", 0.6)
    path = broken(tmp_path / "file")
    mended = threading.Timer(0.2, write_json, [path, {"step": 7}])
    mended.start()
    assert read_json(path) == {"step": 7}
    mended.join()


def test_what_may_not_be_read_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_AGAIN_SECONDS", 600.0)
    with pytest.raises(StorageError, match="Is a directory"):
        read_json(tmp_path)


def test_a_supervisor_goes_on(make_job: MakeJob, start: Start) -> None:
    worker = f"""
        beat(10)
        path = root / "progress" / f"worker-{{index}}.json"
        path.unlink()
        path.symlink_to({UNREADABLE!r})
        time.sleep(2.0)
        beat(100)
    """
    evaluator = f"""
        os.symlink({UNREADABLE!r}, root / "progress" / "evaluator-0.failure.json")
        sys.exit(1)
    """
    status = ended(start(make_job(worker, evaluator, max_evaluator_restarts=0)))
    assert status.reason is Reason.EVALUATION_FAILED
    assert (status.step, status.restarts) == (100, 0)
    assert "evaluator left with exit code 1" in status.message
    assert "a bug of launcher" not in status.message


def test_a_heartbeat_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    write_json(RunPaths(tmp_path).progress(1), {"step": 5})
    broken(RunPaths(tmp_path).progress(0))
    assert heartbeats(tmp_path) == [{"step": 5}]


def test_a_control_file_that_cannot_be_read_stops_no_run(tmp_path: Path) -> None:
    assert stops(tmp_path, "demo-0") is None, "the folder is gone"
    reset_control(tmp_path, "demo-0")
    assert stops(tmp_path, "demo-0") == 0
    broken(Channel(tmp_path).control)
    assert stops(tmp_path, "demo-0") == 0


def test_a_folder_that_cannot_be_read_is_not_one_without_checkpoints(tmp_path: Path) -> None:
    assert follow.listed_steps(tmp_path) == []
    broken(tmp_path / follow.STATE_FILE)
    with pytest.raises(StorageError):
        follow.listed_steps(tmp_path)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs that have ended: `good`, and `bad`, whose status cannot be read."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("bad", "good"):
        root = tmp_path / "runs" / name
        root.mkdir(parents=True)
        (root / "spec.yaml").write_text(f"name: {name}\n")
        status = RunStatus(name, root, State.RUNNING, Reason.STARTED, total_steps=9)
        write_status(replace(status, state=State.SUCCEEDED, reason=Reason.SCORED))
    broken(RunPaths(tmp_path / "runs" / "bad").status)
    return tmp_path / "runs"


@pytest.mark.parametrize(
    "command", ["status", "logs", "cancel", "delete", "results", "evaluate", "dashboard"]
)
def test_every_command_says_it_in_one_line(
    runs: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run([command, "bad", "--run-dir", str(runs)]) == 1
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    where = RunPaths(runs / "bad").status
    assert line.startswith(f"error: {where}: cannot read (Input/output error). ")
    assert where.is_symlink(), "nothing was removed"


def test_list_shows_the_others(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--run-dir", str(runs)]) == 0
    said = capsys.readouterr()
    assert "good" in said.out
    (line,) = said.err.splitlines()
    assert line.startswith("warning: bad is not listed: ")
