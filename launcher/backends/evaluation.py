"""The evaluator beside the training: restarted alone, and never a reason to stop training."""

import contextlib
import signal
import time
from collections.abc import Callable

from launcher.backends.exits import exit_of
from launcher.backends.processes import Log, Member, exit_text
from launcher.backends.silence import Stuck
from launcher.contract import Reason
from launcher.errors import LauncherError, StorageError, UnreachableError
from launcher.records.room import lacking, mebibytes
from launcher.render.supervised import EVALUATOR, SupervisedJob
from launcher.storage import discard

NICE = 10
"""Scoring yields to training on the same cores."""

_TURN_SECONDS = 1.0
_MOST_DISK_FAULTS = 100
"""With the pauses about an hour: a network file system is back by then; a disk that has room and
may not be written never will be."""


class NotYetError(Exception):
    """It has to wait for its turn; the text says for what, where that is worth a status."""


class EvaluatorKeeper:
    """Starts it, and again when it dies or hangs, at most `max_evaluator_restarts` times between
    two scores.

    An evaluator that dies of one checkpoint passes that one over in time (evaluate/attempts.py): so
    it is given up only when it gets nowhere. Being told to stop (SIGTERM) does not count, nor does
    a full disk, which is waited for as long as it is full; one that fails otherwise has an hour.
    """

    def __init__(self, job: SupervisedJob, start: Callable[[int], Member], log: Log) -> None:
        """`start` begins it in an attempt. It raises NotYetError, UnreachableError or StorageError
        when that may succeed later, and another LauncherError when it never will."""
        self._job = job
        self._begin = start
        self._log = log
        self._restarts = 0
        self._starts = 0
        self._results = 0  # bytes of eval.jsonl
        self._has_got_on()
        self._not_before = 0.0
        self._unreached = 0
        self._stuck: Stuck | None = None
        self._hung = ""
        self._full = False
        self._disk_faults = 0
        self.waiting = ""
        """What it waits for before it runs; empty: nothing."""
        self.child: Member | None = None
        self.done = job.role(EVALUATOR) is None
        self.failure = ""
        """Why it was given up; empty while it was not."""

    @property
    def over(self) -> bool:
        return self.done or bool(self.failure)

    @property
    def note(self) -> str:
        """For the run's status: what is not as it should be; else empty."""
        return self.failure or self.waiting

    def tick(self, attempt: int) -> bool:
        """Look after it. True when a process was started."""
        if self.over:
            return False
        if self.child is None:
            return self._is_due() and self._start(attempt)
        code = self.child.poll()
        if code is None:
            self._watch(self.child)
            return False
        left, self.child = self.child, None
        how = "was given no room in time" if left.waiting else exit_text(code)
        self._log(f"evaluator ({left.identity}): {how}")
        if code == 0:
            self.done = True
            return False
        why = exit_of(left, self._job.paths, hung=self._hung)
        if self._has_got_on():
            self._restarts = self._disk_faults = 0
        if why.reason is Reason.STORAGE:
            self._await_disk(str(why))
            return False
        counts = why.reason is not Reason.PREEMPTED
        if why.final or (counts and self._restarts >= self._job.max_evaluator_restarts):
            self._give_up(str(why))
            return False
        self._not_before = time.monotonic() + self._job.pause(self._restarts)
        self._restarts += int(counts)
        return False

    def _watch(self, child: Member) -> None:
        """One that is stopped or hangs is killed: its scores can be made again."""
        if self._stuck is None:
            return
        self._stuck.look()
        if not self._hung and (why := self._stuck.why):
            self._hung = why
            self._log(f"evaluator ({child.identity}): {why}: SIGKILL")
            child.signal(signal.SIGKILL)
        if self._hung:
            self._wait(f"the evaluator {self._hung}")
        elif child.waiting is not None:
            self._wait(child.waiting or self._stuck.note)

    def _has_got_on(self) -> bool:
        """Whether it has written any result since this was asked last."""
        with contextlib.suppress(OSError):
            before, self._results = self._results, self._job.paths.eval_metrics.stat().st_size
            return self._results > before
        return False

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now >= self._not_before and self._full:
            self._full = bool(lacking(self._job.paths, checkpoints=0))
            self._not_before = now + _TURN_SECONDS if self._full else now
        return now >= self._not_before

    def _start(self, attempt: int) -> bool:
        discard(self._job.paths.failure(EVALUATOR))
        try:
            self.child = self._begin(attempt)
        except NotYetError as e:
            self._not_before = time.monotonic() + _TURN_SECONDS
            if str(e):
                self._wait(str(e))
            return False
        except UnreachableError as e:
            self._try_later(e)
            return False
        except StorageError as e:
            self._await_disk(f"evaluator: {e}")
            return False
        except LauncherError as e:
            self._give_up(f"evaluator: {e}")
            return False
        self._starts += 1
        self._unreached = 0
        self._stuck, self._hung = Stuck(self.child, self._job), ""
        self._log(f"evaluator ({self.child.identity}): started, start {self._starts}")
        return True

    def give_way(self) -> None:
        """What it holds is needed for the workers: it starts again when it is its turn."""
        if self.child is not None:
            self._log(f"evaluator ({self.child.identity}): gives way to the workers")
            self.child.signal(signal.SIGTERM)

    def _wait(self, why: str) -> None:
        if why and why != self.waiting:
            self._log(why)
        self.waiting = why

    def _try_later(self, error: UnreachableError) -> None:
        self._not_before = time.monotonic() + self._job.pause(self._unreached)
        self._unreached += 1
        self._wait(f"the evaluator is not started yet ({error.problems[0].what}); trying again")

    def _await_disk(self, why: str) -> None:
        """It left, or could not begin, because something cannot be written or read."""
        missing = lacking(self._job.paths, checkpoints=0)
        self._full = bool(missing)
        if not missing and self._disk_faults >= _MOST_DISK_FAULTS:
            self._give_up(why)
            return
        self._not_before = time.monotonic() + self._job.pause(self._disk_faults)
        self._disk_faults += int(not missing)
        until = f"when {mebibytes(missing)} more are free there" if missing else "soon"
        self._wait(f"{why}; the evaluator starts again {until}")

    def _give_up(self, why: str) -> None:
        self.failure = why
        self._log(f"evaluator given up: {why}")
