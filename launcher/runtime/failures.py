"""TensorFlow's exceptions as the errors that a user understands."""

import tensorflow as tf

from launcher.errors import (
    ConfigError,
    DataError,
    LauncherError,
    OutOfMemoryError,
    PeerLostError,
    StorageError,
)
from launcher.runtime.source import Source

_PEER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
_INPUT = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)
_QUOTED = 60
"""Characters of our own message in TensorFlow's, enough to tell that it is the same."""


def explain(
    error: tf.errors.OpError,
    *,
    workers: int,
    source: Source | None = None,
    done: int = 0,
    stepped: bool = False,
) -> LauncherError | None:
    """The error for the user, or None when this is a bug of ours and keeps its traceback.

    `stepped`: a step of the run has ended, so that memory was enough for one.

    For a fault in the input it looks at the records read for the steps after `done` once more,
    without TensorFlow, to name the file and the record.
    """
    text = first_line(error)
    if source and source.failure and str(source.failure)[:_QUOTED] in str(error):
        return source.failure
    if is_full_disk(error):
        return StorageError(
            text, place="this worker's disk", remedy="Free some space; the last checkpoint is good"
        )
    if isinstance(error, tf.errors.ResourceExhaustedError):
        if "Too many open files" in text:
            return StorageError(text, place="this worker", remedy="Raise `ulimit -n`")
        if stepped:
            return OutOfMemoryError(
                f"out of memory after steps that had enough ({text})",
                place="this worker's device",
                remedy="See what else uses it; should it come again, halve batch.per_replica_batch",
            )
        return ConfigError(
            f"out of memory: {text}",
            place="batch.per_replica_batch",
            remedy="Halve it: accumulation keeps the global batch",
        )
    if workers > 1 and is_from_peer(error):
        return PeerLostError(f"lost another worker: {text}")
    if isinstance(error, _INPUT):
        return (source.find_damage(done) if source else None) or (
            DataError(text, place="training records") if _is_from_input(error) else None
        )
    return None


def is_from_peer(error: BaseException) -> bool:
    """What a worker sees when another one is gone."""
    return isinstance(error, _PEER) or "Collective" in str(error)


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def is_full_disk(error: BaseException) -> bool:
    return any(text in str(error) for text in ("No space left on device", "Disk quota exceeded"))


def _is_from_input(error: tf.errors.OpError) -> bool:
    return "IteratorGetNext" in str(error) or isinstance(error, tf.errors.DataLossError)
