"""Every change of a run's state is written down with its time and its reason."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from launcher.backends import lock
from launcher.backends.status import true_status
from launcher.contract import RunPaths, State
from launcher.report.record import read_record
from launcher.report.timeline import attempts
from launcher.storage import read_jsonl

from .conftest import MakeJob
from .test_local_supervisor import appears, ended, pid_of

Start = Callable[..., Path]


def test_a_restart_and_what_came_before_and_after(make_job: MakeJob, start: Start) -> None:
    worker = """
        if attempt == 0:
            forever()
        beat(100)
    """
    before = time.time()
    root = start(make_job(worker, "pass"))
    appears(root / "ready-0-0")
    appears(root / "ready-1-0")
    os.kill(pid_of(root, "worker-1"), signal.SIGKILL)
    assert ended(root).state is State.SUCCEEDED
    assert not lock.is_held(root)
    events = read_jsonl(RunPaths(root).events)
    told = [(e["state"], e["reason"], e["attempt"]) for e in events]
    assert told == [
        ("RUNNING", "started", 0),
        ("RESTARTING", "crashed", 1),
        ("RUNNING", "started", 1),
        ("EVALUATING", "trained", 1),
        ("SUCCEEDED", "scored", 1),
    ]
    assert "SIGKILL" in events[1]["message"]
    times = [e["time"] for e in events]
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < time.time()

    first, second = attempts(read_record(RunPaths(root), "demo", true_status(root).state))
    assert (first.number, first.ended_by) == (0, "crashed")
    assert "SIGKILL" in first.message
    assert (second.number, second.ended_by) == (1, "trained")
