"""What a supervisor says of itself. A full disk must not end the run."""

import contextlib
import os
import sys
import time
from pathlib import Path

_copies: list[Path] = []


def log(text: str) -> None:
    """To stderr, which is the log of the present attempt, and to a copy where there is one."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n"
    with contextlib.suppress(OSError):
        sys.stderr.write(line)
        sys.stderr.flush()
    for path in _copies:
        with contextlib.suppress(OSError), path.open("a") as file:
            file.write(line)


def copy_log_to(path: Path) -> None:
    """From now on `log` writes to the end of this file, too, and to no other one."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    _copies[:] = [path]


def log_to(path: Path) -> None:
    """From now on stdout and stderr go to the end of this file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as e:
        log(f"error: cannot write {path} ({e.strerror}); going on in this log")
        return
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
