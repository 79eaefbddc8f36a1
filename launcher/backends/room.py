"""Room on the disk of a run, from what a group that is gone was writing."""

from launcher.backends.processes import Log
from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.records import unfinished


def remove_unfinished(paths: RunPaths, log: Log) -> None:
    """What a group that is gone was writing takes the room that the next one needs."""
    try:
        for name in unfinished.clear(paths.checkpoints):
            log(f"{name} was not finished when its writer ended: removed")
    except StorageError as e:
        log(f"error: {e}")
