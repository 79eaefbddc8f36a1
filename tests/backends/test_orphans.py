"""The record of a run's processes: whose they are, and how long it is kept."""

import os
import shutil

from launcher.backends import orphans
from launcher.contract import RunPaths

from .conftest import MakeJob
from .test_local_supervisor import WAIT_FOR_GO, Start, appears, ended, pid_of


def test_leftovers_of_another_run_are_not_ours(make_job: MakeJob, start: Start) -> None:
    """After a container was started anew, a worker may have the pid and the parent's pid that a
    worker of another run had before."""
    root, other = start(make_job("forever()")), start(make_job("forever()", name="other"))
    appears(other / "ready-1-0")
    shutil.copy(other / "processes.json", root / "processes.json")
    pid = pid_of(root, "worker-0")
    assert orphans.left(RunPaths(root)) == []
    assert orphans.reap(RunPaths(root)) == []
    os.kill(pid, 0)
    assert pid in orphans.left(RunPaths(other))


def test_pids_are_forgotten_when_all_are_gone(make_job: MakeJob, start: Start) -> None:
    root = start(make_job(WAIT_FOR_GO))
    appears(root / "processes.json")
    (root / "go").touch()
    ended(root)
    assert not (root / "processes.json").exists()


def test_pids_are_kept_while_one_is_there(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("forever()"))
    appears(root / "processes.json")
    orphans.forget(RunPaths(root))
    assert len(orphans.left(RunPaths(root))) >= 2
