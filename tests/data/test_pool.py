"""The pool: results in order, errors in their turn, and no more in memory than agreed."""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from launcher.data.pool import AHEAD_PER_PROCESS, Pool, ordered_map
from launcher.errors import RunFailedError

PROCESSES = 2


# Processes of the pool import the functions that they run: so these stand in a file of their own.
TASKS = '''
import os, signal, threading, time

def square(number):
    time.sleep({0: 1.0, 2: 0.05}.get(number, 0))
    return number * number

def whose(number):
    return os.getpid()

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


def test_processes_that_are_started_early_do_the_work(tasks: Any) -> None:
    with Pool(tasks.whose) as pool:
        pool.start(PROCESSES)
        pool.start(1)  # there are more already
        pids = set(pool.map(range(8)))
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= PROCESSES


def test_a_script_needs_no_guard_around_its_main_part(tmp_path: Path) -> None:
    """Processes that imported the script again would start processes for ever."""
    (tmp_path / "some_tasks.py").write_text("def double(number):\n    return 2 * number\n")
    script = tmp_path / "script.py"
    script.write_text(
        "from launcher.data.pool import ordered_map\n"
        "import some_tasks\n"
        "print(list(ordered_map(some_tasks.double, [1, 2, 3], 2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "[2, 4, 6]\n"


def test_an_unexpected_error_keeps_its_traceback(tasks: Any) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)fail_at_three.*ValueError: three"):
        list(ordered_map(tasks.fail_at_three, range(10), PROCESSES))


def test_a_killed_process_is_noticed_in_the_middle_of_a_result(tasks: Any) -> None:
    with pytest.raises(RunFailedError, match="one of the processes was killed"):
        next(ordered_map(tasks.die, [0, 1], PROCESSES))
