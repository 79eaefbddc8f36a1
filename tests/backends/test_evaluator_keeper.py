"""The evaluator's starts: put off, tried again, given up; its processes are real ones."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends.evaluation import EvaluatorKeeper, NotYetError
from launcher.backends.processes import Child, Member
from launcher.errors import ConfigError, UnreachableError, WorkerExit
from launcher.render.supervised import EVALUATOR, Process, Role, SupervisedJob

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
