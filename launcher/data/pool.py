"""Work on all cores, with the results in order and a bounded number of them in memory.

Not concurrent.futures: its processes share one pipe for their results, so one that is killed
(memory ran out) in the middle of a large result leaves the parent waiting for the rest for ever.
Here each process has a pipe of its own, and its death is the end of that pipe. Nor
multiprocessing's processes: a forked one may have a lock that another thread held, and the others
import the program's main module again, which takes as long as a thousand images.
"""

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from launcher.errors import RunFailedError

Task = TypeVar("Task")
Result = TypeVar("Result")

AHEAD_PER_PROCESS = 4  # tasks begun before the oldest one is done: results that may wait in memory
END_SECONDS = 10.0  # for a process to finish the task that it is at

_PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from launcher.data.pool import serve
serve(int(sys.argv[1]))
"""
_PARENTS_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""A terminal's Ctrl-C, and the SIGTERM of a whole group, are the parent's to answer."""


def cores() -> int:
    """Those this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Generator[Result, None, None]:
    """`Pool.map` in so many processes. Close the generator (contextlib.closing) to end them."""
    with Pool(function) as pool:
        pool.start(processes)
        yield from pool.map(tasks)


class Pool(Generic[Task, Result]):
    """`with Pool(function) as pool: pool.start(4); for result in pool.map(tasks): ...`

    Without `start`, or with one process, `map` works in this process. `function` is one of a
    module: the processes import it. At the end of the block they are ended at once.
    """

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self._function = function
        self._workers: list[_Worker] = []

    def start(self, processes: int) -> None:
        """Until there are so many. They get ready while this process does something else."""
        while len(self._workers) < processes > 1:
            self._workers.append(_start(self._function))

    def map(self, tasks: Iterable[Task]) -> Generator[Result, None, None]:
        """As the built-in one. Raises RunFailedError when a process is killed, and RuntimeError,
        with its traceback, when `function` raises in one."""
        if self._workers:
            yield from _deal(self._workers, tasks)
        else:
            yield from map(self._function, tasks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _end(self._workers)


@dataclass
class _Worker:
    process: "subprocess.Popen[bytes]"
    pipe: "Connection[Any, Any]"
    task: int = -1  # the number of the task that it is at


def _start(function: Callable[[Any], Any]) -> _Worker:
    ours, theirs = Pipe()
    with theirs, _blocked(_PARENTS_SIGNALS):
        # Closed here, or the pipe would not end with the process.
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), *sys.path],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
    with suppress(OSError):  # it is gone: the first task says so
        ours.send(function)
    return _Worker(process, ours)


@contextmanager
def _blocked(signals: Iterable[int]) -> Iterator[None]:
    """A process that is started meanwhile has them blocked until it unblocks them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def serve(handle: int) -> None:
    """A process: a task in, (result, None) or (None, traceback) out, until the pipe ends."""
    for number in _PARENTS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PARENTS_SIGNALS)
    with suppress(EOFError, OSError), Connection(handle) as pipe:  # the parent is done, or gone
        function = pipe.recv()
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
        try:
            worker.process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
