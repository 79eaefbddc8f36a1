"""A thread that ends this process when a step never ends or when its supervisor is gone."""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable

from launcher.errors import WorkerExit

FIRST_STEP_FACTOR = 4
"""The first step traces and compiles: it may take this many times as long as the others."""

_POLL_SECONDS = 1.0


class Watchdog(threading.Thread):
    """Call `beat()` after every step. On a stall it prints the stacks of all threads, tells
    `on_exit` the verdict and leaves with 75: the main thread may hang in native code for ever."""

    def __init__(
        self,
        stall_seconds: float,
        on_exit: Callable[[WorkerExit, str], None],
        parent: int | None = None,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._stall = stall_seconds
        self._on_exit = on_exit
        self._parent = parent
        self._deadline = time.monotonic() + FIRST_STEP_FACTOR * stall_seconds
        self._done = 0

    def beat(self, steps_done: int) -> None:
        self._done = steps_done
        self._deadline = time.monotonic() + self._stall

    def run(self) -> None:
        while True:
            time.sleep(_POLL_SECONDS)
            if self._parent is not None and os.getppid() != self._parent:
                self._leave(f"the supervisor (process {self._parent}) is gone")
            if time.monotonic() > self._deadline:
                faulthandler.dump_traceback(file=sys.stderr, all_threads=True)
                self._leave(
                    f"no step ended within {self._stall:g} s after step {self._done} "
                    "(restart.stall_timeout_seconds); the stacks are in this worker's log"
                )

    def _leave(self, verdict: str) -> None:
        print(f"watchdog: {verdict}", file=sys.stderr, flush=True)  # noqa: T201
        try:
            self._on_exit(WorkerExit.PEER_LOST, verdict)
        finally:
            os._exit(WorkerExit.PEER_LOST)
