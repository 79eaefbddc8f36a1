"""`cancel` of a local run: its supervisor is asked to end it, and all is gone then."""

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

from launcher.backends import identity, lock, orphans, run_folder
from launcher.backends.lock import Holder, RunLock, Work
from launcher.backends.patience import cancel_seconds
from launcher.backends.processes import POLL_SECONDS
from launcher.backends.status import read_status
from launcher.contract import RunPaths
from launcher.errors import ConfigError, LauncherError, RunFailedError, StorageError, UsageError
from launcher.render import local as render
from launcher.storage import is_passing

_MARGIN_SECONDS = 60.0
"""Beyond the time that workers have for their checkpoint: the supervisor's own steps."""
_SURE_SECONDS = 1.0
"""A supervisor that is just leaving has no command line any more, and the lock for a moment."""


def cancel(root: Path, timeout: float | None = None) -> bool:
    """SIGTERM to the supervisor, and wait until all is gone; after `timeout` a second one, which
    does not wait for checkpoints any more. False when the run had ended already.

    Raises UsageError when whoever has the run cannot be asked from here.
    """
    if not lock.is_held(root) and end_leftovers(root):
        return False
    seconds = _patience(root) if timeout is None else timeout
    for patience in (seconds, _MARGIN_SECONDS):
        if _ends(root, patience):
            return True
    raise RunFailedError(
        "the run does not end",
        place=root.name,
        remedy=f"See `launcher logs {root.name} supervisor`",
    )


def end_leftovers(root: Path) -> bool:
    """What a killed supervisor left behind. False when someone has the run by now."""
    paths = RunPaths(root)
    if not orphans.left(paths):
        return True
    held = RunLock.acquire(root, Work.CANCEL)
    if held is None:
        return False
    try:
        orphans.reap(paths)
    finally:
        held.release()
    return True


def _ends(root: Path, seconds: float) -> bool:
    """Ask whoever holds the lock, once each, until nobody does or time is up."""
    deadline = time.monotonic() + seconds
    asked: Holder | None = None
    doubted: tuple[Holder, float] | None = None
    while _may_be_held(root):
        holder = _holder(root)
        if holder is not None and holder != asked:
            refused = _refusal(root, holder)
            if refused is None:
                _terminate(root, holder.pid)
                asked = holder
            elif doubted is None or doubted[0] != holder:
                doubted = holder, time.monotonic()
            elif time.monotonic() - doubted[1] > _SURE_SECONDS:
                raise refused
        elif time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _may_be_held(root: Path) -> bool:
    """A network file system that does not answer now says nothing."""
    try:
        return lock.is_held(root)
    except StorageError as e:
        if not is_passing(e):
            raise
        return True


def _holder(root: Path) -> Holder | None:
    """Who is to be asked. A submit, a cancel or a delete is waited for."""
    holder = lock.holder(root)
    if holder is not None:
        return holder if holder.work in (Work.SUPERVISE, Work.EVALUATE) else None
    with contextlib.suppress(StorageError):  # a full disk: the lock does not say
        status = read_status(root)
        if status and status.supervisor_pid and not status.state.ended:
            return Holder(status.supervisor_pid, "", Work.SUPERVISE)
    return None


def _refusal(root: Path, holder: Holder) -> LauncherError | None:
    """Why it cannot be asked. A pid of another machine or container means a stranger here."""
    if holder.work is Work.EVALUATE:
        return run_folder.being_scored(root, holder)
    if identity.names(holder.pid, render.SUPERVISOR_MODULE, root) is not False:
        return None
    return UsageError(
        f"its supervisor is {holder}, which is no process that {socket.gethostname()} sees",
        place=root.name,
        remedy=f"Run `launcher cancel {root.name}` where it was submitted: on that machine, in "
        "that container",
    )


def _terminate(root: Path, pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass
    except PermissionError as e:
        raise UsageError(
            f"its supervisor (pid {pid}) is of {identity.owner(pid)}, whose processes this "
            "account may not stop",
            place=root.name,
            remedy=f"Run `launcher cancel {root.name}` as that account",
        ) from e


def _patience(root: Path) -> float:
    try:
        job = render.LocalJob.read(root / render.JOB_FILE)
    except (ConfigError, OSError):
        return _MARGIN_SECONDS
    return cancel_seconds(job) + _MARGIN_SECONDS
