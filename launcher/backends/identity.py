"""Which process a number means: a pid is of one machine and one container, and is given again."""

import contextlib
import itertools
import os
import pwd
from pathlib import Path


def names(pid: int, module: str, root: Path) -> bool | None:
    """Whether this process runs `python -m module ROOT`. None when the system does not say: it has
    no /proc, as macOS, or hides other accounts' processes."""
    argv = _argv(pid)
    if argv is None:
        return None
    return any(word == module and _same(after, root) for word, after in itertools.pairwise(argv))


def works_on(pid: int, root: Path) -> bool:
    """Whether one of this process's arguments is the run's folder."""
    return any(_same(word, root) for word in _argv(pid) or ())


def owner(pid: int) -> str:
    """The account whose process it is."""
    try:
        uid = Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return "another account"
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"the account {uid}"


def _argv(pid: int) -> list[str] | None:
    """Empty of a process that is not there, or is just leaving."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except PermissionError:
        return None
    except OSError:
        return [] if Path("/proc/self/cmdline").exists() else None
    return [os.fsdecode(word) for word in line.split(b"\0")]


def _same(word: str, root: Path) -> bool:
    """Perhaps by another way, as over a link."""
    if word == str(root):
        return True
    with contextlib.suppress(OSError, ValueError):
        return Path(word).name == root.name and Path(word).samefile(root)
    return False
