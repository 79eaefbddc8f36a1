"""Work on all cores, with the results in order and a bounded number of them in memory.

Not concurrent.futures: its processes share one pipe for their results, so one that is killed
(memory ran out) in the middle of a large result leaves the parent waiting for the rest for ever.
Here each process has a pipe of its own, and its death is the end of that pipe.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from launcher.errors import RunFailedError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD_PER_PROCESS = 4  # tasks begun before the oldest one is done: results that may wait in memory
END_SECONDS = 10.0  # for a process to finish the task that it is at


def cores() -> int:
    """Those this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Generator[Result, None, None]:
    """As `map`, in `processes` processes; with one, in this process.

    Close the generator (contextlib.closing) to end the processes at once. Raises RunFailedError
    when one of them is killed, and RuntimeError, with its traceback, when `function` raises.
    """
    if processes == 1:
        yield from map(function, tasks)
        return
    workers: list[_Worker] = []
    try:
        context = _context()
        for _ in range(processes):
            workers.append(_start(context, function))
        yield from _deal(workers, tasks)
    finally:
        _end(workers)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: "Connection[Any, Any]"
    task: int = -1  # the number of the task that it is at


def _context() -> BaseContext:
    """Not fork: a process that is forked while another thread (a progress bar's, TensorFlow's)
    holds a lock has that lock held for ever."""
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


def _start(context: Any, function: Callable[[Any], Any]) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()  # or the pipe would not end with the process
    return _Worker(process, ours)


def _work(pipe: "Connection[Any, Any]", function: Callable[[Any], Any]) -> None:
    """A process: a task in, (result, None) or (None, traceback) out, until the pipe ends."""
    # A terminal's Ctrl-C, and the SIGTERM of a whole group, are the parent's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the parent is done, or gone
        while True:
            task = pipe.recv()
            result, error = None, None
            try:
                result = function(task)
            except Exception:
                error = traceback.format_exc()
            pipe.send((result, error))


def _deal(workers: list[_Worker], tasks: Iterable[Any]) -> Generator[Any, None, None]:
    """Gives an idle worker the next task; yields the results in the order of the tasks."""
    waiting = enumerate(tasks)
    idle, busy = list(workers), dict[Any, _Worker]()
    done: dict[int, Any] = {}
    turn = 0
    while True:
        while idle and len(busy) + len(done) < AHEAD_PER_PROCESS * len(workers):
            if (numbered := next(waiting, None)) is None:
                break
            worker = idle.pop()
            _send(worker, *numbered)
            busy[worker.pipe] = worker
        if not busy:
            return
        for pipe in wait(list(busy)):
            worker = busy.pop(pipe)
            done[worker.task] = _receive(worker)
            idle.append(worker)
        while turn in done:
            yield done.pop(turn)
            turn += 1


def _send(worker: _Worker, number: int, task: Any) -> None:
    worker.task = number
    try:
        worker.pipe.send(task)
    except OSError:
        raise _killed() from None


def _receive(worker: _Worker) -> Any:
    try:
        result, error = worker.pipe.recv()
    except (EOFError, OSError):
        raise _killed() from None
    if error is not None:
        raise RuntimeError(f"in a process of the pool:\n{error}")
    return result


def _killed() -> RunFailedError:
    return RunFailedError(
        "one of the processes was killed",
        remedy="Most often memory ran out: use fewer processes",
    )


def _end(workers: list[_Worker]) -> None:
    """The end of its pipe ends a process after the task that it is at."""
    for worker in workers:
        worker.pipe.close()
    for worker in workers:
        worker.process.join(END_SECONDS)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
