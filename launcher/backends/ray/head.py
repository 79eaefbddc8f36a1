"""A Ray of the run's own: starting and stopping its keeper (keeper.py), and whether it is there."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from launcher.backends.ray import leftovers
from launcher.backends.ray.channel import Channel, mapping
from launcher.errors import RunFailedError
from launcher.storage import storage_error

MODULE = "launcher.backends.ray.keeper"
_START_SECONDS = 100.0
_STOP_SECONDS = 40.0
"""For the keeper, which also removes what Ray wrote."""


def start(root: Path, say: Callable[[str], None]) -> str:
    """The dashboard's URL of a new Ray. Raises RunFailedError with the place of its log.

    Interrupted, or failing, it leaves nothing behind.
    """
    leftovers.remove_ray_folders()
    channel = Channel(root)
    channel.head.unlink(missing_ok=True)
    try:
        channel.head_log.parent.mkdir(parents=True, exist_ok=True)
        output = channel.head_log.open("ab")
    except OSError as e:
        raise storage_error(e, channel.head_log) from e
    with output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(root)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _keepers[root] = keeper
    try:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and keeper.poll() is None:
            if address := mapping(channel.head).get("address"):
                say(f"its dashboard is {address}")
                return str(address)
            time.sleep(0.1)
        raise RunFailedError(
            "Ray did not start on this machine",
            place=str(channel.head_log),
            remedy="See this log",
        )
    except BaseException:
        stop(root)
        raise


def stop(root: Path, seconds: float = _STOP_SECONDS) -> None:
    """Idempotent. Returns when the keeper is gone, and with it all of Ray."""
    if is_elsewhere(root):
        return
    deadline = time.monotonic() + seconds
    pid = mapping(Channel(root).head).get("pid")
    keeper = _keepers.get(root)
    pid = pid or (keeper.pid if keeper else None)
    if not isinstance(pid, int):
        return
    asked = signal.SIGTERM
    while _is_keeper(pid, root):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, asked)
        late = time.monotonic() > deadline
        if late and asked is signal.SIGKILL:
            return
        if late:
            asked, deadline = signal.SIGKILL, time.monotonic() + 5.0
        time.sleep(0.2)


def await_end(root: Path, seconds: float = _STOP_SECONDS) -> None:
    """The keeper leaves by itself when the run has ended; then, or in any case, it is gone."""
    deadline = time.monotonic() + seconds
    while is_alive(root):
        if time.monotonic() > deadline:
            stop(root)
            return
        time.sleep(0.2)


def is_alive(root: Path) -> bool:
    if is_elsewhere(root):
        return False
    pid = mapping(Channel(root).head).get("pid")
    if not isinstance(pid, int):
        keeper = _keepers.get(root)
        return keeper is not None and keeper.poll() is None
    return _is_keeper(pid, root)


def is_elsewhere(root: Path) -> bool:
    """Whether it was started on another machine, whose loopback device this one cannot reach."""
    host = mapping(Channel(root).head).get("host")
    return host is not None and host != socket.gethostname()


def is_ours(root: Path) -> bool:
    """Whether this process started it, and it is still there."""
    keeper = _keepers.get(root)
    return keeper is not None and keeper.poll() is None


_keepers: "dict[Path, subprocess.Popen[bytes]]" = {}
"""Those that this process started: its children, which it has to wait for."""


def _is_keeper(pid: int, root: Path) -> bool:
    if (keeper := _keepers.get(root)) is not None:
        keeper.poll()  # a child that has ended would be there as a zombie
    with contextlib.suppress(OSError):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        return argv[1:4] == ["-m", MODULE, str(root)]
    return False
