"""Whether the disk of a run has room for its next checkpoint."""

import shutil

from launcher.contract import RunPaths

SLACK = 16 << 20
"""Bytes beside the checkpoint: status, heartbeats, metrics, logs."""


def lacking(paths: RunPaths, checkpoints: int) -> int:
    """Bytes that must become free before as many more checkpoints, each as large as the largest,
    and what is written beside them can be saved; 0 when there is room, or nothing can be said: no
    checkpoint yet (a disk that is too small for the first will not grow), or a disk that does not
    answer.

    A quota is not seen: a write that it forbids fails, and counts, as any other.
    """
    try:
        sizes: dict[str, int] = {}
        for path in paths.checkpoints.glob("ckpt-*.*"):
            sizes[path.stem] = sizes.get(path.stem, 0) + path.stat().st_size
        if checkpoints and not sizes:
            return 0
        wanted = checkpoints * max(sizes.values(), default=0) + SLACK
        return max(0, wanted - shutil.disk_usage(paths.root).free)
    except OSError:
        return 0


def mebibytes(count: int) -> str:
    """`1,234 MiB`, rounded up."""
    return f"{-(-count // 2**20):,} MiB"
