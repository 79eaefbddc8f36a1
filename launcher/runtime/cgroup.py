"""The memory that the container, or the control group, of this process may take."""

import os
from pathlib import Path

_V1 = Path("memory")  # the controller's own hierarchy


def memory_limit(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """In bytes, the least of this group's and those around it; None when there is none."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    limits = [limit for line in lines for limit in _limits(root, line)]
    # Version 1 writes a number near 2^63 for none; a limit that the machine does not have is none.
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min((limit for limit in limits if 0 < limit < host), default=None)


def _limits(root: Path, line: str) -> list[int]:
    """Of one line `number:controllers:path`. In a container the path may be the host's, so the
    mount's own root counts, too."""
    _, controllers, path = line.split(":", 2)
    if not controllers:
        top, name = root, "memory.max"
    elif "memory" in controllers.split(","):
        top, name = root / _V1, "memory.limit_in_bytes"
    else:
        return []
    group = top / path.lstrip("/")
    return [
        int(text)
        for folder in (group, *group.parents)
        if folder.is_relative_to(top) and (text := _read(folder / name)).isdigit()
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
