"""TensorFlow's exceptions as the errors that a user understands."""

from pathlib import Path

import tensorflow as tf

from launcher.errors import ConfigError, DataError, LauncherError, PeerLostError, StorageError
from launcher.odapi import label_map
from launcher.odapi.protos import Message
from launcher.records import expand, locate_damage
from launcher.runtime.inputs import num_classes

_PEER = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
_INPUT = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError)


def explain(error: tf.errors.OpError, pipeline: Message, workers: int) -> LauncherError | None:
    """The error for the user, or None when this is a bug of ours and keeps its traceback.

    For a fault in the input it reads the records once more, without TensorFlow, to name the file
    and the record.
    """
    text = first_line(error)
    if "No space left on device" in str(error):
        return StorageError(
            text, place="this worker's disk", remedy="Free some space; the last checkpoint is good"
        )
    if isinstance(error, tf.errors.ResourceExhaustedError):
        return ConfigError(
            f"out of memory: {text}",
            place="batch.per_replica_batch",
            remedy="Halve it: accumulation keeps the global batch",
        )
    if workers > 1 and (isinstance(error, _PEER) or "Collective" in str(error)):
        return PeerLostError(f"lost another worker: {text}")
    if isinstance(error, _INPUT):
        return _find_damage(pipeline) or (
            DataError(text, place="training records") if _is_from_input(error) else None
        )
    return None


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _find_damage(pipeline: Message) -> DataError | None:
    reader = pipeline.train_input_reader
    try:
        files = expand(reader.tf_record_input_reader.input_path)
        texts = label_map.read_texts(Path(reader.label_map_path))
        return locate_damage(files, num_classes(pipeline.model), texts=texts)
    except DataError as e:
        return e


def _is_from_input(error: tf.errors.OpError) -> bool:
    return "IteratorGetNext" in str(error) or isinstance(error, tf.errors.DataLossError)
