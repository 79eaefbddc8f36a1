"""A lock that nobody can look at, a folder that does not answer for a while: the run goes on."""

import errno
import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends import local, lock
from launcher.backends.base import JobHandle, RunStatus
from launcher.backends.status import heartbeats, read_status, true_status, write_status
from launcher.cli import follow, logs
from launcher.cli.main import run
from launcher.contract import Reason, RunPaths, State
from launcher.errors import StorageError
from launcher.storage import is_passing
from tests.disks import gone, without_flock

from .conftest import MakeJob
from .test_local_supervisor import WAIT_FOR_GO, Start, ended, supervisor_log, until

NO_FLOCK = """
import sys
from pathlib import Path
from launcher.backends import lock
from launcher.errors import StorageError
try:
    print(getattr(lock, sys.argv[1])(Path(sys.argv[2])) if sys.argv[1] == "is_held"
          else lock.RunLock.acquire(Path(sys.argv[2]), lock.Work.SUBMIT))
except StorageError as e:
    print(e)
"""


@pytest.fixture
def unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that goes on, by its status, and whose lock cannot be opened; beside it `good`."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("demo", "good"):
        root = tmp_path / "runs" / name
        root.mkdir(parents=True)
        status = RunStatus(name, root, State.RUNNING, Reason.STARTED, total_steps=9)
        write_status(status)
    root = tmp_path / "runs" / "demo"
    RunPaths(root).lock.symlink_to(RunPaths(root).lock)
    return root


def test_a_lock_that_cannot_be_opened_is_not_a_free_one(unknown: Path) -> None:
    with pytest.raises(StorageError) as caught:
        lock.is_held(unknown)
    assert str(caught.value).startswith(f"{unknown / 'lock'}: cannot read (Too many levels of ")
    with pytest.raises(StorageError, match="cannot read"):
        true_status(unknown)
    assert not lock.is_held(unknown.parent / "no-such-run")
    assert not lock.is_held(unknown / "status.json"), "which is a file"


@pytest.mark.parametrize("command", ["status", "cancel", "delete", "logs"])
def test_commands_say_so_in_one_line(
    unknown: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run([command, "demo", "--run-dir", str(unknown.parent)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {unknown}")
    assert "Too many levels of symbolic links" in line


def test_list_shows_the_others(unknown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--run-dir", str(unknown.parent)]) == 0
    said = capsys.readouterr()
    assert "good" in said.out
    assert said.err.startswith("warning: demo is not listed: ")


def without_locks(action: str, root: Path, code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", NO_FLOCK, action, str(root)],
        preexec_fn=functools.partial(without_flock, code),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_left_as_it_was(tmp_path: Path, code: int) -> None:
    root = tmp_path / "demo"
    told = (
        f"{root / 'lock'}: its file system has no locks (flock: {os.strerror(code)}). Mount it "
        "with locks, as Lustre with -o flock, or choose another place with run_dir"
    )
    assert without_locks("acquire", root, code) == told
    assert not root.exists()
    root.mkdir()
    assert without_locks("acquire", root, code) == told
    assert not list(root.iterdir())
    (root / "lock").touch()
    assert without_locks("acquire", root, code) == told
    assert without_locks("is_held", root, code) == told
    assert [path.name for path in root.iterdir()] == ["lock"], "which was there before"


def test_a_folder_that_does_not_answer_says_nothing_of_the_run(tmp_path: Path) -> None:
    write_status(RunStatus("demo", tmp_path, State.RUNNING, Reason.STARTED))
    (tmp_path / "progress").mkdir()
    with gone(tmp_path):
        for look in (lock.is_held, true_status):
            with pytest.raises(StorageError) as caught:
                look(tmp_path)
            assert is_passing(caught.value)
    with gone(tmp_path / "progress"):
        assert heartbeats(tmp_path) == []
        assert true_status(tmp_path).state is State.FAILED


def test_who_waits_for_the_end_goes_on_waiting(
    make_job: MakeJob, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    root = start(make_job("while not (root.parent / 'go').exists(): time.sleep(0.02)"))
    until(root, lambda s: s.state is State.RUNNING)
    handle = JobHandle("demo", root, local.BACKEND)
    ends: list[object] = []

    def note(wait: Callable[[], RunStatus]) -> None:
        try:
            ends.append(wait().state)
        except BaseException as e:
            ends.append(e)

    def read_logs() -> RunStatus:
        wanted, matches = logs._wanted("supervisor"), logs._matcher(None)
        logs._print(handle, "supervisor", wanted, matches, True, None, None)
        return true_status(root)

    waits = (handle.wait, lambda: follow._follow_lines(handle), read_logs)
    threads = [threading.Thread(target=note, args=(wait,)) for wait in waits]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    with gone(root):
        time.sleep(1.5)
    assert ends == []
    (root.parent / "go").touch()
    for thread in threads:
        thread.join(timeout=20)
    assert ends == [State.SUCCEEDED] * 3
    assert capsys.readouterr().err.count("cannot read (Transport endpoint") >= 1
    assert ended(root).restarts == 0, supervisor_log(root)


def test_a_look_that_fails_is_no_closed_terminal(make_job: MakeJob, start: Start) -> None:
    """The folder's EIO, not that of the line's: nothing is cancelled."""

    class Unanswering(local.LocalBackend):
        def status(self, root: Path) -> RunStatus:
            raise OSError(errno.EIO, "Input/output error")

    root = start(make_job(WAIT_FOR_GO))
    for show in (True, False):
        with pytest.raises(StorageError, match=r"cannot read \(Input/output error\)"):
            follow.run(lambda: JobHandle("demo", root, Unanswering()), show)
    status = read_status(root)
    assert status is not None
    assert not status.state.ended
    (root / "go").touch()
    assert ended(root).state is State.SUCCEEDED
