"""The evaluator's starts: put off, tried again, given up; its processes are real ones."""

import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.backends import evaluation
from launcher.backends.evaluation import EvaluatorKeeper, NotYetError
from launcher.backends.processes import Child, Member
from launcher.errors import ConfigError, StorageError, UnreachableError, WorkerExit
from launcher.render.supervised import EVALUATOR, Process, Role, SupervisedJob
from tests.disks import small

UNREACHABLE = UnreachableError("no Ray cluster answers there", place="http://127.0.0.1:1")
WAITS = "the evaluator waits for 1 GPU"


@pytest.fixture
def job(tmp_path: Path) -> SupervisedJob:
    return SupervisedJob(
        name="a",
        root=str(tmp_path),
        workers=1,
        total_steps=1,
        max_restarts=0,
        roles=(Role(EVALUATOR, 1, (), {}),),
        restart_seconds=0.02,
        max_evaluator_restarts=1,
    )


def child(job: SupervisedJob, code: int = 0) -> Child:
    argv = (sys.executable, "-c", f"raise SystemExit({code})")
    return Child(Process(EVALUATOR, 0, argv, {}, str(job.paths.evaluator_log(0))))


def keeper_of(
    job: SupervisedJob, *starts: Callable[[], Member] | Exception
) -> tuple[EvaluatorKeeper, list[str]]:
    """Its starts, one after the other; and what it logs."""
    left, told = list(starts), list[str]()

    def start(attempt: int) -> Member:
        first = left.pop(0)
        if isinstance(first, Exception):
            raise first
        return first()

    return EvaluatorKeeper(job, start, told.append), told


def until_over(keeper: EvaluatorKeeper, seconds: float = 30.0) -> list[str]:
    """What its note was, each once."""
    notes, deadline = [keeper.note], time.monotonic() + seconds
    while not keeper.over:
        assert time.monotonic() < deadline, notes
        keeper.tick(0)
        if keeper.note != notes[-1]:
            notes.append(keeper.note)
        time.sleep(0.01)
    return notes


def test_a_cluster_that_does_not_answer_is_asked_again(job: SupervisedJob) -> None:
    keeper, told = keeper_of(job, *[UNREACHABLE] * 5, lambda: child(job))
    notes = until_over(keeper)
    assert keeper.done
    assert not keeper.failure
    asked = "the evaluator is not started yet (no Ray cluster answers there); trying again"
    assert notes[:2] == ["", asked]
    assert told.count(asked) == 1, "five times the same"


def test_what_is_refused_is_given_up(job: SupervisedJob) -> None:
    keeper, _ = keeper_of(job, ConfigError("Ray refuses it"))
    until_over(keeper)
    assert keeper.failure == "evaluator: Ray refuses it"


def test_its_turn_is_waited_for(job: SupervisedJob) -> None:
    keeper, told = keeper_of(job, NotYetError(), NotYetError(WAITS), lambda: child(job))
    notes = until_over(keeper)
    assert keeper.done
    assert notes[:2] == ["", WAITS]
    assert told[0] == WAITS


def test_being_sent_away_counts_as_no_failure(job: SupervisedJob) -> None:
    """As Ray does with a job that it has no room for, and the driver for the sake of workers."""
    keeper, _ = keeper_of(job, *[lambda: child(job, WorkerExit.STOPPED)] * 4, lambda: child(job))
    until_over(keeper)
    assert keeper.done
    failing, _ = keeper_of(job, *[lambda: child(job, 1)] * 2)
    until_over(failing)
    assert "left with exit code 1" in failing.failure


def test_a_full_disk_is_waited_for(job: SupervisedJob) -> None:
    with small(job.paths.root, "32m") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(20 << 20))
        keeper, told = keeper_of(job, lambda: child(job, WorkerExit.STORAGE), lambda: child(job))
        deadline = time.monotonic() + 10
        while "are free there" not in keeper.note:
            assert time.monotonic() < deadline
            keeper.tick(0)
            time.sleep(0.01)
        assert re.search(
            r"; the evaluator starts again when [45] MiB more are free there$", keeper.note
        )
        for _ in range(150):
            keeper.tick(0)
            time.sleep(0.01)
        assert sum("started, start" in line for line in told) == 1
        filler.unlink()
        assert until_over(keeper)[-1] == ""
        assert keeper.done


def test_a_disk_that_fails_for_a_while_costs_no_restart(job: SupervisedJob) -> None:
    """A network file system that is gone: whether its log can be opened or not."""
    gone = StorageError("cannot write (Transport endpoint is not connected)", place="/runs/a")
    fails = [gone, *[lambda: child(job, WorkerExit.STORAGE)] * 3, gone]
    keeper, told = keeper_of(job, *fails, lambda: child(job))
    notes = until_over(keeper)
    assert keeper.done
    assert notes[1] == f"evaluator: {gone}; the evaluator starts again soon"
    assert "evaluator left with exit code 74; the evaluator starts again soon" in told


def test_a_disk_that_fails_for_good_ends_it(
    job: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_MOST_DISK_FAULTS", 3)
    keeper, told = keeper_of(job, *[lambda: child(job, WorkerExit.STORAGE)] * 4)
    until_over(keeper)
    assert keeper.failure == "evaluator left with exit code 74"
    assert sum("started, start" in line for line in told) == 4


def test_a_file_that_its_disk_does_not_let_go_keeps_it_from_nothing(job: SupervisedJob) -> None:
    (job.paths.failure(EVALUATOR) / "below").mkdir(parents=True)  # unlink(2) fails with EISDIR
    keeper, _ = keeper_of(job, lambda: child(job))
    until_over(keeper)
    assert keeper.done


def running(job: SupervisedJob, code: str) -> Child:
    text = f"import os, sys, time; beat = {str(job.paths.evaluator_beat)!r}\n{code}"
    argv = (sys.executable, "-c", text)
    return Child(Process(EVALUATOR, 0, argv, {}, str(job.paths.evaluator_log(0))))


def test_one_that_is_stopped_is_started_again_and_counted(job: SupervisedJob) -> None:
    stopped = "os.kill(os.getpid(), 19)"
    keeper, told = keeper_of(replace(job, frozen_seconds=0.2), *[lambda: running(job, stopped)] * 2)
    until_over(keeper)
    assert keeper.failure == "evaluator was stopped by a signal (SIGSTOP)"
    assert sum("SIGKILL" in line for line in told) == 4, "sent, and died of, twice"


def test_one_that_does_not_get_on_is_told_then_started_again(
    job: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.render.supervised._EVALUATOR_SECONDS", 1.2)
    job = replace(job, silence_seconds=0.3)
    keeper, _ = keeper_of(job, lambda: running(job, "time.sleep(60)"), lambda: child(job))
    notes = until_over(keeper)
    assert keeper.done
    assert notes[:3] == [
        "",
        "the evaluator does not get on; after 0.02 minutes it is started again",
        "the evaluator hung: it has not got on for 0.02 minutes",
    ]


def test_one_that_gets_on_is_left_alone(
    job: SupervisedJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("launcher.render.supervised._EVALUATOR_SECONDS", 1.0)
    job = replace(job, silence_seconds=0.2)
    job.paths.evaluator_beat.parent.mkdir()
    job.paths.evaluator_beat.touch()
    gets_on = "for _ in range(40): time.sleep(0.05); os.utime(beat)"
    keeper, told = keeper_of(job, lambda: running(job, gets_on))
    until_over(keeper)
    assert keeper.done, told


def test_pauses_grow_up_to_half_a_minute(job: SupervisedJob) -> None:
    assert [job.pause(n) for n in (0, 1, 2)] == [0.02, 0.04, 0.08]
    assert job.pause(100_000) == 30.0
