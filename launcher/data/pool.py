"""Work on all cores, with the results in order and a bounded number of them in memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TypeVar

from launcher.errors import RunFailedError

Task = TypeVar("Task")
Result = TypeVar("Result")

WAITING_PER_PROCESS = 3  # results that may wait for their turn


def cores() -> int:
    """Those this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Task], Result], tasks: Iterable[Task], processes: int
) -> Generator[Result, None, None]:
    """As `map`, in `processes` processes; with one, in this process.

    An error of a task is raised when its turn comes. Close the iterator (contextlib.closing) to
    end the processes at once.
    """
    if processes == 1:
        yield from map(function, tasks)
        return
    # Not fork: a process that is forked while another thread (a progress bar's, TensorFlow's)
    # holds a lock has that lock held for ever.
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(
        processes, multiprocessing.get_context(kind), initializer=_start_process
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, task))
            if len(waiting) > WAITING_PER_PROCESS * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise RunFailedError(
            "one of the processes was killed",
            remedy="Most often memory ran out: use fewer processes",
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_process() -> None:
    """Ctrl-C is the parent's to handle, and without a parent there is nothing left to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        connection.wait([parent.sentinel])
        os._exit(1)
