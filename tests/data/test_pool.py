"""The pool: results in order, errors in their turn, and no more in memory than agreed."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher.data.pool import AHEAD_PER_PROCESS, ordered_map
from launcher.errors import RunFailedError

PROCESSES = 2


# Processes of the pool import the functions that they run: so these stand in a file of their own.
TASKS = '''
import os, signal, threading, time

def square(number):
    time.sleep({0: 1.0, 2: 0.05}.get(number, 0))
    return number * number

def fail_at_three(number):
    if number == 3:
        raise ValueError("three")
    return number

def die(number):
    """Killed in the middle of a result that a pipe cannot hold, as when memory runs out."""
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return bytes(500_000_000)
'''


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "pool_tasks.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("pool_tasks")
    del sys.modules["pool_tasks"]


@pytest.mark.parametrize("processes", [1, PROCESSES])
def test_results_come_in_the_order_of_the_tasks(tasks: Any, processes: int) -> None:
    wanted = [n * n for n in range(20)]
    assert list(ordered_map(tasks.square, range(20), processes)) == wanted


def test_more_processes_than_tasks(tasks: Any) -> None:
    assert list(ordered_map(tasks.square, [3], 3)) == [9]
    assert list(ordered_map(tasks.square, [], PROCESSES)) == []


def test_tasks_are_begun_only_as_results_are_taken(tasks: Any) -> None:
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    with closing(ordered_map(tasks.square, numbers(), PROCESSES)) as results:
        assert next(results) == 0  # the slowest: the other process could have done all the rest
        assert len(begun) <= 1 + AHEAD_PER_PROCESS * PROCESSES


def test_an_unexpected_error_keeps_its_traceback(tasks: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fail_at_three.*ValueError: three"):
        list(ordered_map(tasks.fail_at_three, range(10), PROCESSES))


def test_a_killed_process_is_noticed_in_the_middle_of_a_result(tasks: Any) -> None:
    with pytest.raises(RunFailedError, match="one of the processes was killed"):
        next(ordered_map(tasks.die, [0, 1], PROCESSES))
