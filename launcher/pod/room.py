"""Waiting for room on the disk of the run, before a start that would only fail for want of it.

Elsewhere a supervisor waits, and its restart is counted once. A pod that left instead would be
started again by its Job after 10, 20 and 40 s, and each time it would count.
"""

import time
from collections.abc import Callable

from launcher.contract import RunPaths
from launcher.errors import StorageError, WorkerExit
from launcher.pod import folder
from launcher.pod.child import ALIVE_SECONDS
from launcher.pod.identity import Identity
from launcher.records import unfinished
from launcher.records.room import lacking, mebibytes
from launcher.storage import peek_json

_LOOK_SECONDS = 5.0


class Room:
    """What this pod needs there: a worker as much as its whole group, in which each saves."""

    def __init__(
        self, paths: RunPaths, me: Identity, workers: int, say: Callable[[str], None]
    ) -> None:
        self._paths, self._me, self._say = paths, me, say
        self._checkpoints = workers if me.role == "worker" else 0

    def missing(self) -> int:
        """Bytes."""
        return lacking(self._paths, self._checkpoints)

    def was_missing(self, attempt: int) -> bool:
        """Whether the start before this one may have failed for want of it: it has said so, or
        could not even write that down."""
        if (log := folder.last_log(self._paths, self._me.who, before=attempt)) is None:
            return False
        said = peek_json(log.with_name(f"{self._me.who}.exit.json"))
        return not isinstance(said, dict) or said.get("exit") == WorkerExit.STORAGE

    def wait(self, alive: Callable[[], None]) -> None:
        """Until it is there. `alive` is called now and then: this pod is not gone."""
        if self.missing():
            self._clear_own()
        if not (missing := self.missing()):
            return
        self._say(f"{self._paths.root}: waits until {mebibytes(missing)} more are free there")
        told = time.monotonic()
        while self.missing():
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - told >= ALIVE_SECONDS:
                alive()
                told = time.monotonic()
        self._say("there is room again")

    def _clear_own(self) -> None:
        """What this worker was writing when it was killed; others may still write theirs."""
        if self._me.role != "worker":
            return
        try:
            for name in unfinished.clear_own(self._paths.checkpoints, self._me.index):
                self._say(f"{name} was not finished when its writer ended: removed")
        except StorageError as e:
            self._say(f"error: {e}")
