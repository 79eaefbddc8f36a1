"""Whether the disk of a run has room for its next checkpoint."""

import shutil

from launcher.contract import RunPaths

SLACK = 16 << 20
"""Bytes beside the checkpoint: status, heartbeats, metrics, logs."""


def lacking(paths: RunPaths) -> int:
    """Bytes that must become free before another checkpoint as large as the newest, and what is
    written beside it, can be saved; 0 when there is room, or nothing can be said: no checkpoint yet
    (a disk that is too small for the first will not grow), or a disk that does not answer.

    A quota is not seen: a write that it forbids fails, and counts, as any other.
    """
    try:
        sizes: dict[str, int] = {}
        for path in paths.checkpoints.glob("ckpt-*.*"):
            sizes[path.stem] = sizes.get(path.stem, 0) + path.stat().st_size
        if not sizes:
            return 0
        return max(0, max(sizes.values()) + SLACK - shutil.disk_usage(paths.root).free)
    except OSError:
        return 0
