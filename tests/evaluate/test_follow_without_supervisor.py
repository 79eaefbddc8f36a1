"""The evaluator of a run that nobody watches as a whole, as on Kubernetes: when it may leave."""

import os
import time
from pathlib import Path

import pytest

from launcher.contract import RunPaths
from launcher.evaluate import follow, silence
from launcher.storage import write_json

NOW = time.time()
MARGIN = 1200
"""Seconds that the tests before these may take."""


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def give_up(paths: RunPaths, when: float) -> None:
    write_json(paths.given_up, {"worker": 3, "exit": 65, "message": "", "time": when})


def test_it_waits_while_nobody_says_anything(paths: RunPaths) -> None:
    assert follow.ended(paths, NOW) is None


def test_it_leaves_when_a_worker_will_not_be_started_again(paths: RunPaths) -> None:
    give_up(paths, NOW + 5)
    assert follow.ended(paths, NOW) == "FAILED (worker 3 left with 65 for good)"


def test_the_word_of_an_earlier_submit_counts_after_an_hour(paths: RunPaths) -> None:
    give_up(paths, NOW - 100)
    assert follow.ended(paths, NOW) is None
    assert follow.ended(paths, NOW - follow.STALE_SECONDS - 1) is not None


def test_a_supervisors_word_comes_first(paths: RunPaths) -> None:
    write_json(paths.status, {"state": "CANCELLED"})
    assert follow.ended(paths, NOW) == "CANCELLED"
    write_json(paths.status, {"state": "RUNNING"})
    assert follow.ended(paths, NOW) is None
    give_up(paths, NOW - 100)  # by a pod, before the run was continued with another backend
    assert follow.ended(paths, NOW - follow.STALE_SECONDS - 1) is None


def start(paths: RunPaths, worker: int, when: float, code: int | None = None) -> None:
    """One more start of a worker that was last heard of then; code None: it was killed whole, or
    it lives."""
    attempt = len(list((paths.root / "logs").glob(f"attempt-*/worker-{worker}.log")))
    log = paths.worker_log(attempt, worker)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    os.utime(log, (when, when))
    if code is not None:
        write_json(paths.exit(attempt, f"worker-{worker}"), {"exit": code, "time": when})


@pytest.mark.parametrize("code", [None, 1, 75, 137])
def test_workers_that_failed_and_were_silent_for_an_hour_will_not_come_back(
    paths: RunPaths, code: int | None
) -> None:
    """Out of memory on the last start: nobody was left to give the run up."""
    long_ago = NOW - silence.FAILED_SECONDS - MARGIN
    start(paths, 0, long_ago, 143)
    start(paths, 1, long_ago, code)
    assert follow.ended(paths, NOW) is None, "this evaluator has not waited yet"
    assert follow.ended(paths, long_ago) == (
        "silent: no worker has said anything for an hour since one has failed"
    )
    start(paths, 1, NOW)
    assert follow.ended(paths, long_ago) is None, "it lives, or waits for the other one"


def test_workers_that_were_stopped_have_six_hours_to_come_back(paths: RunPaths) -> None:
    """Preempted, or suspended by a queue. Failures of earlier starts are of the past."""
    bound = silence.STOPPED_SECONDS
    for when, ended in ((bound - MARGIN, False), (bound + MARGIN, True)):
        start(paths, 0, NOW - when - 10, 75)
        start(paths, 0, NOW - when, 143)
        said = follow.ended(paths, NOW - 2 * when)
        assert said == ("silent: no worker has said anything for 6 hours" if ended else None)
        (paths.root / "logs").rename(paths.root / f"logs-{when}")


def test_workers_that_never_come_are_not_waited_for_without_bound(paths: RunPaths) -> None:
    assert follow.ended(paths, NOW - silence.NEVER_SECONDS + MARGIN) is None
    assert follow.ended(paths, NOW - silence.NEVER_SECONDS - MARGIN) == (
        "silent: no worker has come for 24 hours"
    )


def test_a_heartbeat_is_a_sign_of_life_and_a_supervisor_knows_better(paths: RunPaths) -> None:
    long_ago = NOW - silence.STOPPED_SECONDS - MARGIN
    start(paths, 0, long_ago)
    write_json(paths.progress(1), {"step": 1})
    assert follow.ended(paths, long_ago) is None
    os.utime(paths.progress(1), (long_ago, long_ago))
    write_json(paths.failure("worker"), {"exit": 75, "message": "as the local backend writes it"})
    assert follow.ended(paths, long_ago) is not None
    write_json(paths.status, {"state": "RUNNING"})
    assert follow.ended(paths, long_ago) is None
