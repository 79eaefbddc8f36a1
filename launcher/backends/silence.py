"""Workers and an evaluator that say nothing any more: what no watchdog of their own can notice.

A stopped process has no running watchdog, and an evaluator none at all. That some of a group are
stopped, the system tells at once; of a single worker, or a group that was stopped as a whole, there
is only the silence.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from launcher.backends.processes import Member
from launcher.backends.status import heartbeats
from launcher.render.supervised import SupervisedJob

FIRST_STEP_FACTOR = 4
"""As the workers' own: the first step traces and compiles."""

_PAUSED_SECONDS = 10.0
"""A gap between two looks that says that the supervisor itself did not run."""


class Frozen:
    """Since when the same workers of a group are stopped, and others are not."""

    def __init__(self, job: SupervisedJob) -> None:
        self._limit = job.frozen_seconds
        self._who: list[Member] = []
        self._since = 0.0

    def too_long(self, workers: Sequence[Member]) -> bool:
        """All of them are none: who pauses a whole group may let it go on."""
        who = [child for child in workers if child.frozen]
        if who != self._who:
            self._who, self._since = who, time.monotonic()
        some = 0 < len(who) < len(workers)
        return some and time.monotonic() - self._since > self._limit


class Silence:
    """Of one attempt: since when none of its workers has told of another step."""

    def __init__(self, root: Path, attempt: int, job: SupervisedJob) -> None:
        self._root = root
        self._attempt = attempt
        self._limit = job.silence_seconds
        self._seen: list[object] = []
        self._since = self._looked = time.monotonic()

    def too_long(self) -> bool:
        now = time.monotonic()
        if now - self._looked > _PAUSED_SECONDS:
            self._since += now - self._looked
        self._looked = now
        steps: list[object] = [
            (beat.get("pid"), beat["step"])
            for beat in heartbeats(self._root)
            if beat.get("attempt") == self._attempt
        ]
        if steps != self._seen:
            self._seen, self._since = steps, now
        factor = 1 if steps else FIRST_STEP_FACTOR
        return now - self._since > factor * self._limit


class Stuck:
    """Of one evaluator: since when it is stopped, or its main loop has not got on."""

    def __init__(self, child: Member, job: SupervisedJob) -> None:
        self._child = child
        self._job = job
        self._beat = job.paths.evaluator_beat
        self._seen: object = None
        self._moved = self._ran = self._looked = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if now - self._looked > _PAUSED_SECONDS:
            self._moved = self._ran = now
        self._looked = now
        if not self._child.frozen:
            self._ran = now
        try:
            found = self._beat.stat()
            seen: object = (found.st_ino, found.st_mtime_ns)
        except FileNotFoundError:
            seen = None  # it has not come to its loop
        except OSError:
            self._moved = now  # nobody knows
            return
        if seen != self._seen or self._child.waiting != "":
            self._seen, self._moved = seen, now

    @property
    def why(self) -> str:
        """What it is to be ended for; empty: nothing."""
        if self._looked - self._ran > self._job.frozen_seconds:
            return "was stopped by a signal (SIGSTOP)"
        limit = self._job.evaluator_silence_seconds
        return f"hung: it has not got on for {limit / 60:g} minutes" if self._still > limit else ""

    @property
    def note(self) -> str:
        """For the status, long before."""
        if self._still <= self._job.silence_seconds:
            return ""
        limit = self._job.evaluator_silence_seconds
        return f"the evaluator does not get on; after {limit / 60:g} minutes it is started again"

    @property
    def _still(self) -> float:
        return self._looked - self._moved
