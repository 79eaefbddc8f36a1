"""The lock of a run's folder: held by the supervisor, so that a name runs once.

flock belongs to the open file: `submit` takes it and hands the file to the supervisor it starts,
and when that process is gone, however it ended, the lock is free. Who holds it says so in the
file; what it says of a lock that is free is of the one before.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.storage import RUN_DIR, peek_json, read_error, storage_error, tried_again

_PROBE_SECONDS = 0.5
"""Someone who only looks whether the lock is held holds it for an instant: try again."""
_NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


class Work(StrEnum):
    """What the lock is held for."""

    SUBMIT = "submit"
    SUPERVISE = "supervise"
    EVALUATE = "evaluate"
    CANCEL = "cancel"
    DELETE = "delete"


@dataclass(frozen=True)
class Holder:
    pid: int
    host: str
    work: Work

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}" if self.host else f"pid {self.pid}"


class RunLock:
    def __init__(self, root: Path, fd: int) -> None:
        self.root = root
        self.fd = fd

    @classmethod
    def acquire(cls, root: Path, work: Work) -> "RunLock | None":
        """Makes the folder where it is missing. None when another process holds the lock.

        Raises StorageError when the folder cannot be written, or its file system has no locks; what
        was made for it is removed then.
        """
        path = RunPaths(root).lock
        new_root, new_lock = (not os.path.lexists(made) for made in (root, path))
        deadline = time.monotonic() + _PROBE_SECONDS
        while True:
            try:
                root.mkdir(parents=True, exist_ok=True)
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as e:
                if isinstance(e, FileNotFoundError) and time.monotonic() < deadline:
                    continue  # deleted between the two calls
                raise storage_error(e, root) from e
            try:
                _lock(fd, fcntl.LOCK_EX)
            except BlockingIOError:
                os.close(fd)
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.05)
                continue
            except OSError as e:
                os.close(fd)
                with contextlib.suppress(OSError):
                    if new_lock:
                        path.unlink()
                    if new_root:
                        root.rmdir()
                raise (_no_locks(e, path) or storage_error(e, path)) from e
            if _is_at(fd, path):
                held = cls(root, fd)
                held.tell(work)
                return held
            os.close(fd)  # someone deleted the folder meanwhile

    @classmethod
    def inherited(cls, root: Path, fd: int) -> "RunLock":
        """The lock as the process that started this one left it open."""
        os.set_inheritable(fd, False)
        return cls(root, fd)

    def tell(self, work: Work) -> None:
        """Who holds it, for those who find it held. A full disk does not take that."""
        value = {"pid": os.getpid(), "host": socket.gethostname(), "work": work}
        text = json.dumps(value).encode()
        with contextlib.suppress(OSError):
            os.pwrite(self.fd, text, 0)
            os.ftruncate(self.fd, len(text))
            os.fsync(self.fd)  # for readers on other machines: it stays open

    @property
    def lost(self) -> bool:
        """Whether the folder was deleted, and perhaps is another run's by now."""
        try:
            return not os.path.samestat(os.fstat(self.fd), RunPaths(self.root).lock.stat())
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:  # a file system that does not answer now says nothing about the folder
            return False

    def release(self) -> None:
        os.close(self.fd)


def is_held(root: Path) -> bool:
    """Whether a supervisor (or a submit in progress) has this run.

    Raises StorageError when nobody can tell: a run that goes on must not be taken for a lost one.
    """
    path = RunPaths(root).lock
    try:
        fd = tried_again(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as e:
        raise read_error(e, path) from e
    try:
        _lock(fd, fcntl.LOCK_SH)
    except BlockingIOError:
        return True
    except OSError as e:
        raise (_no_locks(e, path) or read_error(e, path)) from e
    finally:
        os.close(fd)
    return False


def holder(root: Path) -> Holder | None:
    """Of a lock that is held; None where it does not say."""
    data = peek_json(RunPaths(root).lock)
    try:
        return Holder(int(data["pid"]), str(data["host"]), Work(data["work"]))
    except (KeyError, TypeError, ValueError):
        return None


def _lock(fd: int, kind: int) -> None:
    tried_again(lambda: fcntl.flock(fd, kind | fcntl.LOCK_NB))


def _no_locks(error: OSError, path: Path) -> StorageError | None:
    if error.errno not in _NO_LOCKS:
        return None
    return StorageError(
        f"its file system has no locks (flock: {error.strerror})",
        place=str(path),
        remedy=f"Mount it with locks, as Lustre with -o flock, or {RUN_DIR}",
    )


def _is_at(fd: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), path.stat())
    return False
