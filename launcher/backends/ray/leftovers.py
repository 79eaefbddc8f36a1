"""Workers of an earlier attempt that are still on this node: stopped, or hanging in native code.

They leave by themselves when their agent is gone; this is for those that cannot. They must not
write into the folder of the next attempt.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from launcher.contract import ENV_PARENT_PID, WORKER_MODULE

_SECONDS = 10.0


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
