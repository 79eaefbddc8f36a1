"""The folder of a run: whether a run may start in it, and emptying it."""

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import backends
from launcher.backends import claims, lock
from launcher.backends.base import RunStatus, log_attempts
from launcher.backends.files import is_run
from launcher.backends.lock import Holder, Work
from launcher.backends.status import read_status, true_status
from launcher.contract import RunPaths
from launcher.errors import UsageError
from launcher.storage import reading, storage_error

if TYPE_CHECKING:
    from launcher.backends.kubernetes.connection import Place


def check_name(root: Path, resume: bool, replace: bool, held: bool = False) -> None:
    """Raises UsageError when a run may not start in this folder."""
    if resume and replace:
        raise UsageError("--resume and --replace exclude each other", remedy="Give one of them")
    if not held:
        _check_clusters(root)
    if not os.path.lexists(root):
        return
    check_is_run(root)
    if not held and lock.is_held(root):
        raise running_error(root)
    elsewhere = _on_ray(root)
    if elsewhere is not None and not elsewhere.state.ended:
        raise running(elsewhere)
    if resume or replace or not contents(root):
        return
    raise UsageError(
        f"has already ended: {_where(elsewhere or true_status(root))}",
        place=root.name,
        remedy="Continue it from its checkpoints with --resume, or delete it and start anew with "
        "--replace",
    )


def check_free(root: Path, place: "Place") -> None:
    """The same for a run in a cluster, whose pods hold no lock. `place`: where its own objects are,
    and were looked for already.

    Raises UsageError while another backend has this folder, or another namespace.
    """
    _check_clusters(root, place)
    written = read_status(root)
    if written is not None and written.backend == claims.CLUSTER:
        return  # of a RayJob's driver, which holds the lock from its pod
    if lock.is_held(root):
        raise running_error(root)
    elsewhere = _on_ray(root)
    if elsewhere is not None and not elsewhere.state.ended:
        raise running(elsewhere)


def _check_clusters(root: Path, but: "Place | None" = None) -> None:
    """Asks only those that the run is said to be in."""
    if found := claims.claims(root):
        from launcher.backends.kubernetes import asking

        asking.check_ended(root, found, but)


def _on_ray(root: Path) -> RunStatus | None:
    """Of a run on Ray, which its cluster knows and not a lock."""
    written = read_status(root)
    if written is None or written.backend in (backends.DEFAULT, claims.CLUSTER):
        return None
    return backends.get(written.backend).status(root)


def check_writable(root: Path) -> None:
    """Raises StorageError as the first write would, without one."""
    there = next(path for path in (root, *root.parents) if os.path.lexists(path))
    if not there.is_dir():
        code = errno.ENOTDIR
    elif not os.access(there, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise storage_error(OSError(code, os.strerror(code)), root)


def _where(status: RunStatus) -> str:
    return f"{status.state} at step {status.step} of {status.total_steps} ({status.root})"


def check_is_run(root: Path) -> None:
    """A folder that holds something else is never written to, and never deleted."""
    try:
        foreign = not root.is_dir() or (not is_run(root) and bool(contents(root)))
    except OSError as e:
        raise storage_error(e, root) from e
    if foreign:
        raise UsageError(
            "exists and is not the folder of a run",
            place=str(root),
            remedy="Choose another name or run_dir",
        )


def running_error(root: Path) -> UsageError:
    """Of a run whose lock someone holds."""
    who = lock.holder(root)
    if who is not None and who.work is Work.EVALUATE:
        return being_scored(root, who)
    return running(true_status(root))


def being_scored(root: Path, who: Holder) -> UsageError:
    return UsageError(
        f"is being scored by `launcher evaluate` ({who})",
        place=root.name,
        remedy="Wait until that has ended, or stop it there with Ctrl-C",
    )


def running(status: RunStatus) -> UsageError:
    return UsageError(
        f"is already running: {_where(status)}",
        place=status.name,
        remedy=f"Stop it with `launcher cancel {status.name}`; after that `submit --resume` "
        "continues it and `submit --replace` starts anew",
    )


def contents(root: Path) -> list[Path]:
    """All but the lock. Raises StorageError."""
    with reading(root):
        return [path for path in root.iterdir() if path != RunPaths(root).lock]


def empty(root: Path) -> None:
    """Remove all but the lock, which is held. Raises StorageError."""
    try:
        for path in contents(root):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as e:
        raise storage_error(e, root) from e


def remove(root: Path) -> None:
    """Its lock, which is held, and itself, too. Raises StorageError."""
    empty(root)
    try:
        RunPaths(root).lock.unlink(missing_ok=True)
        root.rmdir()
    except OSError as e:
        raise storage_error(e, root) from e


def next_attempt(root: Path) -> int:
    """The number of the next attempt: a continued run keeps the logs of the earlier ones."""
    return max(log_attempts(RunPaths(root)), default=-1) + 1
