"""The supervisor of a run, whatever starts its processes: attempts, status, the evaluator.

It restarts the workers as a group when one dies, and says in status.json what became of the run.
"""

import abc
import os
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType

from launcher.backends.base import RunStatus
from launcher.backends.evaluation import EvaluatorKeeper
from launcher.backends.exits import exit_of, unsaved
from launcher.backends.lock import RunLock
from launcher.backends.patience import stop_seconds
from launcher.backends.processes import POLL_SECONDS, Member, exit_text, stop
from launcher.backends.room import remove_unfinished
from launcher.backends.silence import Frozen, Silence
from launcher.backends.status import newest_step, note_change, read_status, write_status
from launcher.backends.supervisor_log import log, log_to
from launcher.backends.verdict import Exit, Verdict, judge
from launcher.contract import Reason, State
from launcher.errors import DataError, LauncherError, StorageError, WorkerExit
from launcher.records.room import lacking, mebibytes
from launcher.render.supervised import SupervisedJob
from launcher.storage import answering, is_passing

_REASONS = ((StorageError, Reason.STORAGE), (DataError, Reason.BAD_DATA))
_STATUS_SECONDS = 1.0
_LAST_WORD_SECONDS = 120.0


class Cancelled(Exception):  # noqa: N818 (an event, not an error)
    """SIGTERM, or the run's folder is gone, or another run's by now."""


class Supervisor(abc.ABC):
    """Subclasses say how a group is started; everything here holds for each backend."""

    def __init__(self, job: SupervisedJob, lock: RunLock) -> None:
        self._job = job
        self._lock = lock
        self._paths = job.paths
        self._signals = 0
        self._workers: list[Member] = []
        self._left: list[Member] = []
        self._evaluator = EvaluatorKeeper(job, self._start_evaluator, log)
        self._last_write = 0.0
        self._unwritten: StorageError | None = None
        self._status = replace(
            read_status(self._paths.root)
            or RunStatus(job.name, self._paths.root, State.PENDING, Reason.SUBMITTED),
            total_steps=job.total_steps,
            supervisor_pid=os.getpid(),
        )
        self._noted = self._status

    @abc.abstractmethod
    def _start_workers(self) -> None:
        """A new group of the present attempt in `_workers`, as soon as there is room for it.
        Raises LauncherError, of which a StorageError is a restart that counts."""

    @abc.abstractmethod
    def _start_evaluator(self, attempt: int) -> Member:
        """Raises LauncherError."""

    @abc.abstractmethod
    def _record(self) -> None:
        """Processes were started: note them for whoever finds the run without a supervisor."""

    def _log_to(self, path: Path) -> None:
        """What is said from now on is of another attempt."""
        log_to(path)

    def _stop_wanted(self) -> int:
        """How often someone asked for the end; twice: at once."""
        return self._signals

    def _regroup_wanted(self) -> str:
        """Why the group should stop and start anew in another size; empty: it goes on."""
        return ""

    def _group_size(self) -> int:
        return self._job.workers

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1

    def run(self) -> None:
        """Until the run has ended, with all processes gone and the last word written."""
        try:
            self._set(State.RUNNING, Reason.STARTED)
            self._check_stop()  # it may have been asked for before there was anyone to hear it
            self._run()
        except Cancelled:
            log("cancelled: stopping all processes")
            self._set(self._status.state, self._status.reason, "being cancelled")
            self._stop_all()
            self._end(State.CANCELLED, Reason.CANCELLED, unsaved(self._workers))
        except LauncherError as e:
            reason = next((r for kind, r in _REASONS if isinstance(e, kind)), Reason.BAD_CONFIG)
            self._stop_all()
            self._end(State.FAILED, reason, str(e))
        except Exception as e:
            traceback.print_exc()
            self._stop_all()
            self._end(
                State.FAILED,
                Reason.CRASHED,
                f"the supervisor failed ({type(e).__name__}: {e}), a bug of launcher: "
                f"see `launcher logs {self._job.name} supervisor`",
            )

    def _run(self) -> None:
        if failed := self._train():
            self._stop_all()
            self._end(State.FAILED, *failed)
            return
        self._set(State.EVALUATING, Reason.TRAINED, self._evaluator.note)
        self._until(lambda: self._evaluator.over)
        if self._evaluator.done:
            self._end(State.SUCCEEDED, Reason.SCORED, "")
        else:
            self._end(
                State.FAILED,
                Reason.EVALUATION_FAILED,
                f"the training is complete, its scoring failed: {self._evaluator.failure}. "
                f"Score the last checkpoint with `launcher evaluate {self._job.name}`",
            )

    def _train(self) -> tuple[Reason, str] | None:
        """Attempt after attempt. None when all workers are done, else why they never will be."""
        pauses = 0
        while verdict := self._attempt():
            step, before = self._status.step, self._status.restarts
            log(f"attempt {self._status.attempt} ended: {verdict.reason}: {verdict.cause}")
            if verdict.final:
                return verdict.reason, str(verdict.cause)
            if verdict.counts and before >= self._job.max_restarts:
                allowed = f"all {before} restarts (restart.max_restarts) are used up"
                return verdict.reason, f"{verdict.cause}; {allowed}"
            self._status = replace(
                self._status,
                attempt=self._status.attempt + 1,
                restarts=before + int(verdict.counts),
            )
            self._log_to(self._paths.supervisor_log(self._status.attempt))
            self._set(State.RESTARTING, verdict.reason, str(verdict.cause))
            if verdict.reason is Reason.STORAGE:
                self._wait_for_room(str(verdict.cause))
            pauses = 0 if step > self._start_step else pauses + 1
            self._pause(self._job.pause(max(0, pauses - 1)))
        return None

    def _attempt(self) -> Verdict | None:
        """Start the group and wait until all are done, or one is not and the rest are stopped."""
        self._start_step = self._status.step
        self._left, self._workers = [], []
        try:
            with answering(self._paths.root):
                self._start_workers()
        except StorageError as e:  # a log that cannot be opened, say
            stop(self._workers, self._job.killed_stop_seconds, log)
            self._workers = [c for c in self._workers if c.code is None]
            return Verdict(Exit("the supervisor", WorkerExit.STORAGE, told=str(e)))
        self._set(State.RUNNING, Reason.STARTED, self._status.message)
        self._record()
        silence = Silence(self._paths.root, self._status.attempt, self._job)
        frozen = Frozen(self._job)
        self._until(
            lambda: (
                self._left_badly()
                or all(c.code == 0 for c in self._workers)
                or frozen.too_long(self._workers)
                or silence.too_long()
                or bool(self._regroup_wanted())
            )
        )
        why = "" if any(c.code is not None for c in self._workers) else self._regroup_wanted()
        if why:
            return self._regroup(why)
        if all(c.code == 0 for c in self._workers):
            return None
        if self._left and not self._killed():
            self._wait_for_peers()
        exits = [exit_of(c, self._paths) for c in self._left]
        exits += self._stop_the_rest()
        self._workers = [c for c in self._workers if c.code is None]
        return judge(exits)

    def _regroup(self, why: str) -> Verdict | None:
        """Save and stop. None when the group had just done its last step."""
        workers = list(self._workers)
        log(f"{why}: the group saves and stops")
        stop(workers, stop_seconds(self._job), log, hurry=lambda: self._stop_wanted() > 1)
        self._workers = []
        if all(c.code == 0 for c in workers):
            return None
        exits = [exit_of(c, self._paths, stopped=True) for c in workers if c.code is not None]
        if any(e.final for e in exits):
            return judge(exits)
        return Verdict(Exit("the group", WorkerExit.STOPPED, stopped=True, resized=why))

    def _stop_the_rest(self) -> list[Exit]:
        """Of a group that lost a member, or hangs as a whole."""
        rest = [c for c in self._workers if c.poll() is None]
        frozen = [c for c in rest if c.frozen]
        killed = self._killed()
        seconds = self._job.killed_stop_seconds if killed else self._job.group_stop_seconds
        stop(rest, seconds, log, hurry=lambda: self._stop_wanted() > 1)
        exits = []
        silent = not frozen and not any(c.code for c in self._left)
        for child in rest:
            hung = ""
            if child in frozen:
                hung = "was stopped by a signal (SIGSTOP): it did not run, and the others waited"
            elif child.code == -signal.SIGKILL and not killed:
                hung = f"hung: it ended neither with the others nor within {seconds:g} s of SIGTERM"
            elif silent:
                hung = "hung: it said nothing for longer than restart.stall_timeout_seconds"
            exits.append(exit_of(child, self._paths, stopped=True, hung=hung))
        return exits

    def _left_badly(self) -> bool:
        """Polls all workers; those that left are listed in their order."""
        for child in self._workers:
            if child not in self._left and child.poll() is not None:
                self._left.append(child)
                log(f"{child.label} ({child.identity}): {exit_text(child.code)}")
        return any(c.code for c in self._left)

    def _killed(self) -> bool:
        """A worker was ended by a signal. It says no more than that, and the others cannot finish
        their step without it; that takes TensorFlow 15 s to see."""
        return any(
            c.code is not None and c.code < 0 and c.code != -signal.SIGTERM for c in self._left
        )

    def _wait_for_peers(self) -> None:
        """The one with the reason may leave after those that only lost it."""
        deadline = time.monotonic() + self._job.peer_seconds
        self._until(
            lambda: (
                (self._left_badly() and any(exit_of(c, self._paths).final for c in self._left))
                or all(c in self._left or c.frozen for c in self._workers)
                or time.monotonic() > deadline
            )
        )

    def _until(self, condition: Callable[[], bool]) -> None:
        """Raises Cancelled on a signal."""
        while not condition():
            self._tick()
            time.sleep(POLL_SECONDS)

    def _wait_for_room(self, cause: str) -> None:
        """Restarts on a full disk would only use up restart.max_restarts, within seconds."""
        if not self._workers:  # one that outlived SIGKILL may write still
            remove_unfinished(self._paths, log)
        if not (missing := lacking(self._paths, self._group_size())):
            return
        wanted = f"waits until {mebibytes(missing)} more are free there"
        log(f"{self._paths.root}: {wanted}")
        self._set(State.RESTARTING, Reason.STORAGE, f"{cause}; {wanted}")
        self._until(lambda: not lacking(self._paths, self._group_size()))
        log("there is room again")

    def _pause(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._until(lambda: time.monotonic() > deadline)

    def _check_stop(self) -> None:
        if self._stop_wanted() or self._lock.lost:
            raise Cancelled

    def _tick(self) -> None:
        self._check_stop()
        before = self._evaluator.note
        if self._evaluator.tick(self._status.attempt):
            self._record()
        if self._evaluator.note != before:
            self._set(self._status.state, self._status.reason, self._evaluator.note)
        elif time.monotonic() - self._last_write >= _STATUS_SECONDS:
            self._set(self._status.state, self._status.reason, self._status.message)

    def _stop_all(self) -> None:
        evaluator = [self._evaluator.child] if self._evaluator.child else []
        stop(self._workers, stop_seconds(self._job), log, hurry=lambda: self._stop_wanted() > 1)
        stop(evaluator, self._job.stop_seconds, log, hurry=lambda: self._stop_wanted() > 1)

    def _set(self, state: State, reason: Reason, message: str = "") -> None:
        step = newest_step(self._paths.root, self._status.attempt)
        self._status = replace(
            self._status,
            state=state,
            reason=reason,
            message=message,
            step=self._status.step if step is None else step,
            updated=time.time(),
        )
        self._last_write = time.monotonic()
        if self._lock.lost:
            return  # the folder was deleted: do not make it anew, nor write into its successor
        try:
            write_status(self._status)
            note_change(self._noted, self._status)
            self._noted, self._unwritten = self._status, None
        except StorageError as e:
            self._unwritten = e
            log(f"error: {e}")

    def _end(self, state: State, reason: Reason, message: str) -> None:
        """The last word. Without it the run would be taken for one whose supervisor was killed: a
        network file system that does not answer is given some time for it."""
        deadline = time.monotonic() + _LAST_WORD_SECONDS
        self._set(state, reason, message)
        while self._unwritten and is_passing(self._unwritten) and time.monotonic() < deadline:
            time.sleep(_STATUS_SECONDS)
            self._set(state, reason, message)
        log(f"{state} ({reason}){': ' if message else ''}{message}")
