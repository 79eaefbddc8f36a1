"""Processes that a killed supervisor left behind.

Workers and evaluator leave by themselves when their supervisor is gone. This is for one that
cannot: stopped, or hanging in native code. It must not write into the folder of the next run.
"""

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from launcher.backends import identity
from launcher.backends.processes import POLL_SECONDS, Child
from launcher.contract import ENV_PARENT_PID, RunPaths
from launcher.errors import StorageError
from launcher.storage import read_json, write_json

_FILE = "processes.json"
_TERM_SECONDS = 15.0
_KILL_SECONDS = 10.0


def record(paths: RunPaths, supervisor: int, children: Sequence[Child]) -> None:
    """The processes that run now, for a later `reap`. Raises StorageError."""
    value = {"supervisor": supervisor, "pids": {c.label: c.pid for c in children}}
    write_json(paths.root / _FILE, value)


def reap(paths: RunPaths) -> list[int]:
    """End what is left of a run without supervisor; the pids that were. Call with the lock held."""
    pids = left(paths)
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        for pid in left(paths):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
                os.killpg(pid, signal.SIGCONT)  # one that was stopped acts on nothing else
        deadline = time.monotonic() + seconds
        while left(paths) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    forget(paths)
    return pids


def forget(paths: RunPaths) -> None:
    """The record, of which no process is left: its pids are given to others by and by."""
    with contextlib.suppress(OSError, StorageError):
        if not left(paths):
            (paths.root / _FILE).unlink(missing_ok=True)


def left(paths: RunPaths) -> list[int]:
    """The recorded processes that still run. A pid that now belongs to another is not one, be it a
    worker of another run: in a container that was started anew the numbers are the same again."""
    data = read_json(paths.root / _FILE)
    if not isinstance(data, dict):
        return []
    mark = f"{ENV_PARENT_PID}={data.get('supervisor')}".encode()
    pids = data.get("pids", {}).values()
    return [pid for pid in pids if _has(pid, mark) and identity.works_on(pid, paths.root)]


def _has(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
