"""What a child process gets of the machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launcher.backends.evaluation import NICE
from launcher.backends.processes import Child, stop
from launcher.contract import Reason, State
from launcher.errors import ConfigError
from launcher.render.supervised import EVALUATOR, WORKER, Process

from .conftest import MakeJob
from .test_local_supervisor import Start, ended, pid_of, until

BURN = "import os; os.sched_setaffinity(0, {int(os.environ['CORE'])})\nwhile True: pass"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def test_scoring_yields_to_training_on_the_same_core(tmp_path: Path) -> None:
    """Both lead sessions of their own, between which a nice value alone may count for nothing."""
    env = {"CORE": str(min(os.sched_getaffinity(0)))}

    def burning(role: str, nice: int) -> Child:
        argv = (sys.executable, "-c", BURN)
        return Child(Process(role, 0, argv, env, str(tmp_path / f"{role}.log")), nice)

    both = [burning(WORKER, 0), burning(EVALUATOR, NICE)]
    try:
        deadline = time.monotonic() + 60
        while cpu_seconds(both[0]) < 1.5 and time.monotonic() < deadline:
            time.sleep(0.1)
        training, scoring = map(cpu_seconds, both)
    finally:
        stop(both, 1.0, lambda _: None)
    assert training > 3 * scoring


def test_a_program_that_is_none_is_never_started(tmp_path: Path) -> None:
    for name in ("no-such", "no-program", "no-program/python"):
        (tmp_path / "no-program").touch()
        argv = (str(tmp_path / name),)
        with pytest.raises(ConfigError, match="cannot be started"):
            Child(Process(WORKER, 0, argv, {}, str(tmp_path / "log")))


NO_PROCESS = """
import errno, sys
from launcher.backends.processes import Child
from launcher.errors import StorageError
from launcher.render.supervised import WORKER, Process
from tests.disks import refused
refused(errno.EAGAIN, "fork", "vfork", "clone")
try:
    Child(Process(WORKER, 0, ("/bin/true",), {}, sys.argv[1]))
except StorageError as e:
    print(e)
"""


def test_a_machine_without_a_process_left_may_have_one_later(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", NO_PROCESS, str(tmp_path / "log")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    said = "/bin/true: cannot be started now (Resource temporarily unavailable). See whether this "
    assert done.stdout.startswith(said), done


def test_a_group_that_cannot_be_started_now_is_started_later(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    worker = "forever() if attempt == 0 else beat(100)"
    root = start(make_job(worker, python=str(python), max_restarts=50))
    until(root, lambda s: (root / "ready-1-0").exists() and (root / "ready-0-0").exists())
    with python.open("ab"):  # being installed: to start it fails with ETXTBSY
        os.kill(pid_of(root, "worker-1"), 9)
        told = "cannot be started now (Text file busy)"
        waits = until(root, lambda s: told in s.message)
        assert (waits.state, waits.reason) == (State.RESTARTING, Reason.STORAGE)
    status = ended(root)
    assert (status.state, status.reason) == (State.SUCCEEDED, Reason.SCORED)
