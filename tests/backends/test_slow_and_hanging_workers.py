"""Workers that take their time to leave, or never do."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.backends import local, lock, processes
from launcher.backends.exits import exit_of
from launcher.backends.local_supervisor import LocalSupervisor
from launcher.backends.patience import stop_seconds
from launcher.backends.processes import Child
from launcher.backends.status import true_status
from launcher.backends.verdict import judge
from launcher.contract import Reason, State
from launcher.render.local import Process
from launcher.storage import read_json
from tests.disks import hanging

from .conftest import MakeJob
from .test_local_supervisor import Start, appears, ended


def test_a_worker_that_outlives_sigkill_is_named(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits in the kernel for a file system that takes its request and never answers."""
    monkeypatch.setattr(processes, "KILL_SECONDS", 0.5)
    job = make_job("sys.exit(75)", group_stop_seconds=0.2)
    folder = tmp_path / "disk"
    folder.mkdir()
    held = lock.RunLock.acquire(job.paths.root, lock.Work.SUBMIT)
    assert held
    supervisor = LocalSupervisor(job, held)
    held.release()
    lost = "import os, sys; os.stat(sys.argv[1])"
    codes = ("raise SystemExit(75)", lost)
    with hanging(folder) as asked:
        for i, code in enumerate(codes):
            argv = (sys.executable, "-c", code, str(folder / "file"))
            supervisor._workers.append(
                Child(Process("worker", i, argv, {}, str(job.paths.worker_log(0, i))))
            )
        deadline = time.monotonic() + 10
        hangs = supervisor._workers[1]
        assert asked.wait(10)
        while not supervisor._left_badly():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        exits = [exit_of(c, job.paths) for c in supervisor._left] + supervisor._stop_the_rest()
        assert hangs.poll() is None
        verdict = judge(exits)
    assert str(verdict.cause) == (
        "worker-1 does not end even after SIGKILL (its disk does not answer)"
    )
    assert (verdict.reason, verdict.final, verdict.counts) == (Reason.PEER_LOST, False, True)
    while hangs.poll() is None:
        assert time.monotonic() < deadline + 10
        time.sleep(0.02)


def test_one_that_hangs_when_the_others_are_done_costs_a_restart(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        beat(100)
        if index == 1:
            on_term(143)
            forever()
    """
    status = ended(start(make_job(worker, silence_seconds=0.5, max_restarts=0)))
    assert (status.state, status.reason) == (State.FAILED, Reason.PEER_LOST)
    assert status.message.startswith("worker-1 hung: it said nothing for longer than")


def test_workers_whose_steps_are_long_may_save_when_cancelled(
    make_job: MakeJob, start: Start
) -> None:
    """A step of 32 images takes 3.2 s."""
    worker = """
        beat(7)
        def leave(number, frame):
            time.sleep(2.0)
            (root / f"saved-by-{index}").touch()
            os._exit(143)
        signal.signal(signal.SIGTERM, leave)
        forever()
    """
    job = make_job(worker, stop_seconds=0.3)
    root = start(job)
    for index in (0, 1):
        appears(root / f"ready-{index}-0")
    assert stop_seconds(job) == pytest.approx(3 * 3.2 + 30)
    assert stop_seconds(replace(job, silence_seconds=20.0)) == 20.0
    assert stop_seconds(replace(job, stop_seconds=60.0)) == 60.0
    assert local.cancel(root)
    assert (root / "saved-by-0").exists()
    assert (root / "saved-by-1").exists()
    status = true_status(root)
    assert (status.state, status.message) == (State.CANCELLED, "")
    for path in root.glob("progress/worker-*.json"):
        path.write_text(json.dumps(read_json(path) | {"images_per_second": None}))
    assert stop_seconds(job) == 0.3, "nothing is known before the second step"
