"""A group that says nothing any more: what the workers' own watchdogs cannot notice.

A stopped process has no running watchdog. That some of a group are stopped, the system tells at
once; of a single worker, or a group that was stopped as a whole, there is only the silence.
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
