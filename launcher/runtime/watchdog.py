"""A thread that ends this process when a step never ends or when its supervisor is gone.

In a synchronous group all workers stall together, whoever is at fault: the others wait for it in
the all-reduce. So the watchdog says what its own worker waits for: the input, when that has not
given what the step takes; a checkpoint, while one is saved; else the others. Those at fault speak
first, because the others give them a moment more.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from launcher.errors import LauncherError, WorkerExit
from launcher.runtime.leaving import leave, say_plainly, stacks
from launcher.storage import leave_within

FIRST_STEP_FACTOR = 4
"""The first step traces and compiles: it may take this many times as long as the others."""

FAILED_SECONDS = 10.0
"""How long the main thread may take to hear of what failed in the input, and to say it itself."""

OTHERS_SECONDS = 5.0
"""How much longer a worker waits that only waits for others."""

VERDICT_SECONDS = 10.0
"""How long the last words may take. The log and the run's folder may lie on the very disk that a
step waits for, and on Kubernetes nobody else ends a process that hangs."""

_POLL_SECONDS = 1.0
_PAUSED_SECONDS = 5.0
"""A gap between two looks that says that this process did not run: stopped, or its machine was."""


_CLOCK_SECONDS = 5.0
"""A change of the wall clock that TensorFlow's service notices; clocks are trimmed by less."""

_CLOCK_REMEMBERED_SECONDS = 60.0


@dataclass(frozen=True)
class Stall:
    """What `on_exit` is told. own: the fault is this worker's, and not one it waits for."""

    message: str
    own: bool
    code: WorkerExit = WorkerExit.PEER_LOST


class Watchdog(threading.Thread):
    """Call `beat()` after every step. On a stall it prints the stacks of all threads, tells
    `on_exit` the verdict and leaves with 75: the main thread may hang in native code for ever."""

    def __init__(
        self,
        stall_seconds: float,
        on_exit: Callable[[WorkerExit, Stall], None],
        parent: int | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._stall = stall_seconds
        self._on_exit = on_exit
        self._parent = parent
        self._alone = workers == 1
        self._waits_for_input: Callable[[int], bool] = lambda steps: False
        self._stuck: Callable[[float], str] = lambda seconds: ""
        self._failure: Callable[[], LauncherError | None] = lambda: None
        self._failed_since: float | None = None
        self._saving = False
        self._done = 0
        self._steps = 0
        self._beaten = time.monotonic()
        self._allowed = FIRST_STEP_FACTOR * stall_seconds
        self._ahead = time.time() - time.monotonic()
        self._clock_set: tuple[float, float] | None = None  # when, by how much

    def loaded(self) -> None:
        """TensorFlow is imported: from now on the time until the first step counts."""
        self._beaten = time.monotonic()

    def watch_input(
        self,
        lacks: Callable[[int], bool],
        stuck: Callable[[float], str],
        failure: Callable[[], LauncherError | None] = lambda: None,
    ) -> None:
        """`lacks(n)`: whether the input has not yet given all that the first n steps take.

        `stuck(s)`: the record whose reading takes longer than s seconds, "" when there is none.
        `failure()`: what ended the reading. The step hears of it where bad records end a run; where
        they are skipped, all errors are, and a disk that has gone gives nothing but errors.
        """
        self._waits_for_input, self._stuck, self._failure = lacks, stuck, failure

    def saving(self) -> None:
        """From now until the next beat this worker writes a checkpoint."""
        self._saving = True

    def beat(self, steps_done: int) -> None:
        """`steps_done` in all attempts; the same number again after its checkpoint is saved."""
        self._steps += int(steps_done > self._done)
        self._done = steps_done
        self._saving = False
        self._allowed = self._stall
        self._beaten = time.monotonic()

    def clock_note(self) -> str:
        """What to add to a lost peer's message: TensorFlow counts heartbeats by the wall clock.

        Under a supervisor there are none (runtime/coordination.py)."""
        if self._parent is not None or not (self._look_at_clock() and self._clock_set):
            return ""
        return (
            f"; the machine's clock was set by {self._clock_set[1]:+,.0f} s just before, which "
            "TensorFlow's coordination service takes for a lost worker"
        )

    def _look_at_clock(self) -> bool:
        """Whether the wall clock was set within the last minute."""
        now = time.monotonic()
        change = time.time() - now - self._ahead
        if abs(change) > _CLOCK_SECONDS:
            self._ahead += change
            self._clock_set = (now, change)
        return self._clock_set is not None and (
            now - self._clock_set[0] < _CLOCK_REMEMBERED_SECONDS
        )

    def run(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(_POLL_SECONDS)
            if self._parent is not None and os.getppid() != self._parent:
                self._leave(Stall(f"the supervisor (process {self._parent}) is gone", own=False))
            self._look_at_clock()
            now = time.monotonic()
            if now - last > _PAUSED_SECONDS:
                self._beaten += now - last  # nothing ran meanwhile: no step is late for that
            last = now
            if failed := self._failed(now):
                self._leave(failed)
            if stall := self._stalled(now - self._beaten):
                self._leave(stall, with_stacks=True)

    def _failed(self, now: float) -> Stall | None:
        """The verdict on an input that failed a while ago, with the error's exit code. What was
        read before is trained first."""
        failure = self._failure()
        if failure is None or not self._waits_for_input(self._steps + 1):
            return None
        if self._failed_since is None:
            self._failed_since = now
        if now - self._failed_since < FAILED_SECONDS:
            return None
        return Stall(str(failure), own=True, code=failure.worker_exit)

    def _stalled(self, seconds: float) -> Stall | None:
        """The verdict after `seconds` without a beat; None while there is none."""
        if seconds <= self._allowed:
            return None
        after = f"after step {self._done}" if self._steps else "before its first step"
        limit = f"{self._allowed:g} s {after} (restart.stall_timeout_seconds)"
        stacks = "the stacks of all threads are in this worker's log"
        if self._saving:
            return Stall(f"saving the checkpoint did not end within {limit}; {stacks}", own=True)
        place = self._stuck(seconds / 2)
        # Before the first step the input is not asked for: the step is being traced.
        if self._waits_for_input(self._steps + 1) and (self._steps or place):
            why = f"{place} cannot be read: the disk does not answer" if place else "no images came"
            return Stall(
                f"waiting for input since {seconds:.0f} s: {why} within {limit}; {stacks}", True
            )
        text = f"no step ended within {limit}"
        if self._alone:
            return Stall(f"{text}; {stacks}", own=True)
        if seconds <= self._allowed + OTHERS_SECONDS:
            return None
        builds = "" if self._steps else "it still builds it, slow on a busy machine, or "
        waits = f"{builds}it waits for the others"
        return Stall(f"{text}, though its input is ready: {waits}; {stacks}", False)

    def _leave(self, verdict: Stall, *, with_stacks: bool = False) -> None:
        leave_within(VERDICT_SECONDS, verdict.code)
        if with_stacks:
            say_plainly(stacks())
        say_plainly(f"watchdog: {verdict.message}")
        try:
            self._on_exit(verdict.code, verdict)
        finally:
            leave(verdict.code)
