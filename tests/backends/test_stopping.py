"""Whom `cancel` asks to stop, and whom it must leave alone."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.backends import local, lock, orphans, stopping
from launcher.backends.base import RunStatus
from launcher.backends.lock import RunLock, Work
from launcher.backends.rescore import rescore, score_again
from launcher.backends.status import read_status, true_status, write_status
from launcher.contract import Reason, RunPaths, State
from launcher.errors import UsageError

from .conftest import MakeJob
from .test_local_supervisor import WAIT_FOR_GO, Start, appears, ended, supervisor_log


@pytest.fixture
def stranger() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has nothing to do with any run."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "demo"])
    yield process
    assert process.poll() is None
    process.kill()
    process.wait()


def launcher(*args: str, before: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*before, sys.executable, "-m", "launcher", *args],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def needs(*command: str) -> None:
    if (
        shutil.which(command[0]) is None
        or subprocess.run([*command, "true"], check=False).returncode
    ):
        pytest.skip(f"{command[0]} takes a right that this user does not have")


def test_from_another_container_it_is_told_at_once(make_job: MakeJob, start: Start) -> None:
    apart = ("unshare", "--pid", "--fork", "--mount-proc")
    needs(*apart)
    root = start(make_job(WAIT_FOR_GO))
    status = read_status(root)
    assert status is not None
    began = time.monotonic()
    done = launcher("cancel", "demo", "--run-dir", str(root.parent), before=apart)
    assert time.monotonic() - began < 10
    host = os.uname().nodename
    assert (done.returncode, done.stderr.splitlines()[1:]) == (
        2,
        [
            f"error: demo: its supervisor is pid {status.supervisor_pid} on {host}, which is no "
            f"process that {host} sees. Run `launcher cancel demo` where it was submitted: on that "
            "machine, in that container"
        ],
    )
    (root / "go").touch()
    assert ended(root).state is State.SUCCEEDED


def test_a_stranger_with_the_pid_is_left_alone(
    tmp_path: Path, stranger: "subprocess.Popen[bytes]"
) -> None:
    root = tmp_path / "demo"
    held = RunLock.acquire(root, Work.SUPERVISE)
    assert held is not None
    write_status(
        RunStatus("demo", root, State.RUNNING, Reason.STARTED, supervisor_pid=stranger.pid)
    )
    said = {"pid": stranger.pid, "host": "node-7", "work": "supervise"}
    for text, where in ((json.dumps(said), f"pid {stranger.pid} on node-7"), ("", "pid ")):
        (root / "lock").write_text(text)
        with pytest.raises(UsageError, match=f"demo: its supervisor is {where}"):
            local.cancel(root)
    held.release()


def test_the_run_of_another_account_is_named(make_job: MakeJob, start: Start) -> None:
    nobody = (
        "setpriv", "--reuid=65534", "--clear-groups",
        "--inh-caps=+dac_override", "--ambient-caps=+dac_override",
    )  # fmt: skip
    needs(*nobody)
    root = start(make_job(WAIT_FOR_GO))
    status = read_status(root)
    assert status is not None
    # os.access, which the command line asks, heeds no capability.
    code = "import launcher, sys; launcher.find('demo', sys.argv[1]).cancel()"
    argv = [*nobody, sys.executable, "-c", code, str(root.parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"launcher.errors.UsageError: demo: its supervisor (pid {status.supervisor_pid}) is of "
        "root, whose processes this account may not stop. Run `launcher cancel demo` as that "
        "account"
    )
    (root / "go").touch()
    assert ended(root).state is State.SUCCEEDED


def test_a_run_under_another_name_of_its_folder_is_cancelled(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    root = start(make_job("forever()"))
    (tmp_path / "linked").symlink_to(root.parent)
    assert local.cancel(tmp_path / "linked" / "demo", timeout=5.0)
    assert true_status(root).state is State.CANCELLED


def test_a_run_that_is_being_scored_is_told_at_once(make_job: MakeJob, start: Start) -> None:
    evaluator = f"""
        if not (root / "again").exists():
            fail(65, "no", "evaluator")
        (root / "scoring").touch()
        {WAIT_FOR_GO}
    """
    job = make_job("beat(100)", evaluator, max_evaluator_restarts=0)
    root = start(job)
    assert ended(root).reason is Reason.EVALUATION_FAILED
    (root / "again").touch()
    scoring = subprocess.Popen(
        [sys.executable, "-c", "import sys, pathlib; from launcher.backends import rescore; "
         "rescore.rescore(pathlib.Path(sys.argv[1]))", str(root)]
    )  # fmt: skip
    try:
        appears(root / "scoring")
        began = time.monotonic()
        for action in (
            lambda: local.cancel(root),
            lambda: local.delete(root),
            lambda: start(job, resume=True),
            lambda: rescore(root),
        ):
            with pytest.raises(UsageError) as caught:
                action()
            assert str(caught.value) == (
                f"demo: is being scored by `launcher evaluate` (pid {scoring.pid} on "
                f"{os.uname().nodename}). Wait until that has ended, or stop it there with Ctrl-C"
            )
        assert time.monotonic() - began < 10
    finally:
        (root / "go").touch()
        assert scoring.wait(20) == 0


def killed(root: Path) -> None:
    """The supervisor of a run, by SIGKILL."""
    status = read_status(root)
    assert status is not None
    assert status.supervisor_pid is not None
    os.kill(status.supervisor_pid, signal.SIGKILL)
    while lock.is_held(root):
        time.sleep(0.02)


def test_a_submit_that_first_ends_leftovers_is_waited_for(
    make_job: MakeJob, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What status.json says until then is of the supervisor that was killed."""
    monkeypatch.setattr(orphans, "_TERM_SECONDS", 2.0)
    job = make_job("signal.signal(signal.SIGTERM, signal.SIG_IGN); forever()", stop_seconds=0.5)
    root = start(job)
    appears(root / "ready-1-0")
    killed(root)
    again = threading.Thread(target=lambda: start(job, resume=True))
    again.start()
    while not lock.is_held(root):
        time.sleep(0.02)
    began = time.monotonic()
    assert local.cancel(root)
    again.join()
    assert time.monotonic() - began < 20
    status = true_status(root)
    assert (status.state, status.attempt) == (State.CANCELLED, 1), supervisor_log(root)


def test_scoring_ends_what_a_killed_supervisor_left(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("forever()", "forever()"))
    appears(root / "ready-1-0")
    killed(root)
    assert len(orphans.left(RunPaths(root))) == 3
    found: list[int] = []

    def score(status: RunStatus) -> int:
        found.extend(orphans.left(RunPaths(root)))
        return 0

    score_again(root, true_status(root), score)
    assert found == []


def test_leftovers_are_ended_with_the_lock_or_not_at_all(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("forever()", "forever()"))
    appears(root / "ready-1-0")
    killed(root)
    held = RunLock.acquire(root, Work.SUBMIT)
    assert held is not None
    left = orphans.left(RunPaths(root))
    assert not stopping.end_leftovers(root)
    assert orphans.left(RunPaths(root)) == left
    held.release()
    assert not local.cancel(root), "it had ended"
    assert orphans.left(RunPaths(root)) == []
