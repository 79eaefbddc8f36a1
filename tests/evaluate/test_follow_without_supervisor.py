"""The evaluator of a run that nobody watches as a whole, as on Kubernetes: when it may leave."""

import os
import time
from pathlib import Path

import pytest

from launcher.contract import RunPaths
from launcher.evaluate import follow
from launcher.storage import write_json

NOW = time.time()


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


def test_workers_that_were_silent_for_hours_will_not_come_back(paths: RunPaths) -> None:
    long_ago = NOW - follow.SILENT_SECONDS - 60
    write_json(paths.progress(0), {"step": 1})
    os.utime(paths.progress(0), (long_ago, long_ago))
    assert follow.ended(paths, NOW) is None, "this evaluator has not waited yet"
    assert follow.ended(paths, long_ago) == "silent: no worker has said anything for 6 hours"
    write_json(paths.progress(1), {"step": 1})
    assert follow.ended(paths, long_ago) is None, "one of them speaks"
    os.utime(paths.progress(1), (long_ago, long_ago))
    write_json(paths.status, {"state": "RUNNING"})
    assert follow.ended(paths, long_ago) is None, "a supervisor knows better"
