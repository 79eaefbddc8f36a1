"""What can go wrong, as a tree, with the exit code of each.

    LauncherError             anything that is told to the user in one message
    ├── UsageError            the command line or the environment is wrong  CLI 2
    │   └── MissingExtraError a package that an optional extra installs is missing
    ├── SpecError             problems in a job spec or pipeline.config  CLI 2, worker 64
    ├── ConfigError           a worker was given something that it cannot run  CLI 2, worker 64
    ├── DataError             records, images or labels cannot be trained on  CLI 2, worker 65
    │   └── UnreadableCheckpointError   a damaged checkpoint; another one may be good
    ├── DivergedError         the loss is no longer finite  CLI 1, worker 66
    ├── StorageError          cannot write, read or start now: permission, full disk, a limit of the
    │                         machine  CLI 1, worker 74
    ├── PeerLostError         another worker is gone, or a step never ended  CLI 1, worker 75
    ├── RunFailedError        the run ended without success  CLI 1
    ├── PreflightError        the preflight found errors  CLI 3
    ├── TargetMissedError     trained and scored, but below the target mAP  CLI 4
    └── UnreachableError      the backend does not answer  CLI 5

Every message names the place, the value and the remedy. Anything else that escapes is a bug of
this program and keeps its traceback.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class CliExit(IntEnum):
    """What `launcher` returns to its shell."""

    SUCCESS = 0
    RUN_FAILED = 1
    USAGE = 2
    PREFLIGHT = 3
    TARGET_MISSED = 4
    UNREACHABLE = 5
    INTERRUPTED = 130


class WorkerExit(IntEnum):
    """What a worker or evaluator process returns to its supervisor.

    64, 65 and 66 are final. The others restart the whole group from the last checkpoint.
    """

    DONE = 0
    BAD_CONFIG = 64
    BAD_DATA = 65
    DIVERGED = 66
    STORAGE = 74
    PEER_LOST = 75
    STOPPED = 143


FINAL_WORKER_EXITS = frozenset({WorkerExit.BAD_CONFIG, WorkerExit.BAD_DATA, WorkerExit.DIVERGED})


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what (with the value), and what to do about it."""

    place: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.place}: {self.what}" if self.place else self.what
        return f"{line}. {self.remedy}" if self.remedy else line


class LauncherError(Exception):
    """An error for the user. `place` is a file, field or address; `remedy` says what to do."""

    cli_exit: CliExit = CliExit.RUN_FAILED
    worker_exit: WorkerExit = WorkerExit.BAD_CONFIG

    def __init__(self, what: str, *, place: str = "", remedy: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(place, what, remedy),)
        super().__init__(str(self.problems[0]))


class UsageError(LauncherError):
    cli_exit = CliExit.USAGE


class MissingExtraError(UsageError):
    """A package that comes with an optional extra is not installed."""


class SpecError(LauncherError):
    """All the problems of a spec at once, one line each."""

    cli_exit = CliExit.USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a SpecError needs at least one problem")
        self.problems = tuple(problems)
        Exception.__init__(self, "\n".join(map(str, self.problems)))


class ConfigError(LauncherError):
    cli_exit = CliExit.USAGE


class DataError(LauncherError):
    cli_exit = CliExit.USAGE
    worker_exit = WorkerExit.BAD_DATA


class UnreadableCheckpointError(DataError):
    """A checkpoint whose files are damaged or incomplete."""


class DivergedError(LauncherError):
    worker_exit = WorkerExit.DIVERGED


class StorageError(LauncherError):
    worker_exit = WorkerExit.STORAGE


class PeerLostError(LauncherError):
    worker_exit = WorkerExit.PEER_LOST


class OutOfMemoryError(LauncherError):
    """Of a step like others that fitted: the group restarts, as after a lost peer."""

    worker_exit = WorkerExit.PEER_LOST


class RunFailedError(LauncherError):
    pass


class PreflightError(LauncherError):
    """All the errors that the preflight found at once, one line each."""

    cli_exit = CliExit.PREFLIGHT

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        Exception.__init__(self, "\n".join(map(str, self.problems)))


class TargetMissedError(LauncherError):
    cli_exit = CliExit.TARGET_MISSED


class UnreachableError(LauncherError):
    cli_exit = CliExit.UNREACHABLE


_WRITE_REMEDIES = {
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
    errno.EFBIG: "Free some space",
    errno.EACCES: "Let this account write there",
    errno.EPERM: "Let this account write there",
    errno.EROFS: "Mount it for writing",
    errno.ENOTDIR: "Remove the file that is in the way",
    errno.EISDIR: "Remove the folder that is in the way",
    errno.ENAMETOOLONG: "Shorten the path",
}


def write_remedy(error: OSError, elsewhere: str) -> str:
    """What to do about a place that cannot be written. `elsewhere`: what always helps."""
    remedy = _WRITE_REMEDIES.get(error.errno or 0)
    return f"{remedy}, or {elsewhere}" if remedy else elsewhere[:1].upper() + elsewhere[1:]
