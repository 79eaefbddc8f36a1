"""What is still on this node of something that was killed.

Workers of an earlier attempt, stopped or hanging in native code: they leave by themselves when
their agent is gone; this is for those that cannot. They must not write into the folder of the next
attempt. And the files of a Ray whose keeper could not remove them.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launcher.contract import ENV_PARENT_PID, WORKER_MODULE

_SECONDS = 10.0
_PREFIX = "launcher-ray-"
_LOCK = "keeper.lock"


@contextmanager
def ray_folder(parent: Path = Path("/tmp")) -> Iterator[Path]:  # noqa: S108 (mkdtemp, a short path)
    """A new folder for the files of a Ray, removed in the end; locked while its keeper lives."""
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_ray_folders(parent: Path = Path("/tmp")) -> list[Path]:  # noqa: S108
    """Those of this account whose keeper was killed, when the Ray in them has ended, too."""
    removed = []
    for folder in parent.glob(f"{_PREFIX}*"):
        if folder.lstat().st_uid != os.geteuid():
            continue
        with contextlib.suppress(OSError), (folder / _LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_used(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
    return removed


def _is_used(folder: Path) -> bool:
    """Whether the command line of a process names it."""
    name = os.fsencode(str(folder))
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if name in line.read_bytes():
                return True
    return False


def end(root: Path) -> list[int]:
    """SIGKILL to the workers of the run in `root` whose agent is gone; their pids."""
    found = [pid for pid in _workers(root) if not _has_parent(pid)]
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    deadline = time.monotonic() + _SECONDS
    while any(Path(f"/proc/{pid}").exists() for pid in found) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _workers(root: Path) -> list[int]:
    wanted = ["-m", WORKER_MODULE, str(root)]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if argv[1:4] == wanted:
                found.append(int(entry.name))
    return found


def _has_parent(pid: int) -> bool:
    """Whether the process that it was started by (LAUNCHER_PARENT_PID) is still its parent."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
    except (OSError, IndexError):
        return True  # another user's, or gone meanwhile
    return f"{ENV_PARENT_PID}={parent}".encode() in environ
