"""Training records, sharded disjointly and seeded, through the OD API's decoder and augmentation.

The OD API shuffles the files without a seed and then shards them, so independent workers overlap
(with two workers 72 of 100 files are seen in a pass), and it fails when there are fewer files
than workers. Here every worker permutes all files with the same seed and takes its own part; with
fewer files than workers it takes its own part of the records.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from object_detection import inputs
from object_detection.builders import decoder_builder
from object_detection.core.standard_fields import InputDataFields as Fields

from launcher.odapi.protos import Message
from launcher.records import expand

BOX_TOLERANCE = 1e-3
"""How far a box may reach out of its image, as a fraction of its side: float rounding, no more."""


def train_dataset(
    pipeline: Message,
    model: Any,
    *,
    workers: int,
    worker: int,
    batch: int,
    seed: int,
    first_epoch: int = 0,
    threads: int | None = None,
) -> tf.data.Dataset:
    """An endless stream of (features, labels), `batch` images in each element.

    `first_epoch` numbers the permutations: a resumed run begins a new one, not the first again.
    """
    reader = pipeline.train_input_reader

    def build(
        config: Message, transform_input_data_fn: Callable[[Any], Any], **_: Any
    ) -> tf.data.Dataset:
        records = sharded_records(
            expand(config.tf_record_input_reader.input_path),
            workers=workers,
            worker=worker,
            seed=seed,
            first_epoch=first_epoch,
            readers=config.num_readers,
        )
        if config.shuffle:
            records = records.shuffle(config.shuffle_buffer_size, seed=seed + first_epoch)
        decode = decoder_builder.build(config).decode
        return (
            records.map(decode, tf.data.AUTOTUNE)
            .map(_checked(num_classes(pipeline.model)), tf.data.AUTOTUNE)
            .map(transform_input_data_fn, tf.data.AUTOTUNE)
            .batch(batch, drop_remainder=True)
            # Only an endless stream keeps its static batch size under a multi-worker strategy.
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
            .prefetch(tf.data.AUTOTUNE)
            .with_options(_options(threads))
        )

    with _dataset_builder(build):
        return inputs.train_input(pipeline.train_config, reader, pipeline.model, model=model)


def sharded_records(
    files: Sequence[Path],
    *,
    workers: int,
    worker: int,
    seed: int,
    first_epoch: int = 0,
    epochs: int | None = None,
    readers: int = 64,
) -> tf.data.Dataset:
    """Serialized records of one worker, epoch after epoch (None: endless).

    In each epoch the workers together read every record exactly once.
    """
    names = tf.constant([str(f) for f in files])
    by_file = len(files) >= workers

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        # The same permutation on every worker: it depends on seed and epoch alone.
        order = tf.random.experimental.stateless_shuffle(names, seed=[seed, epoch])
        mine = order[worker::workers] if by_file else order
        records = tf.data.Dataset.from_tensor_slices(mine).interleave(
            lambda name: tf.data.TFRecordDataset(name, buffer_size=8 << 20),
            cycle_length=max(1, min(readers, len(files) // workers if by_file else len(files))),
            block_length=32,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        return records if by_file else records.shard(workers, worker)

    last = tf.int64.max if epochs is None else first_epoch + epochs
    return tf.data.Dataset.range(first_epoch, last).flat_map(one_epoch)


def num_classes(model: Message) -> int:
    return int(getattr(model, model.WhichOneof("model")).num_classes)


def _checked(classes: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Stops at a box outside its image or a label outside the map, which the OD API drops or
    trains on without a word. `failures.py` finds the file and record afterwards."""

    def check(record: dict[str, Any]) -> dict[str, Any]:
        boxes, labels = record[Fields.groundtruth_boxes], record[Fields.groundtruth_classes]
        inside = tf.reduce_all((boxes >= -BOX_TOLERANCE) & (boxes <= 1 + BOX_TOLERANCE))
        upright = tf.reduce_all(boxes[:, :2] <= boxes[:, 2:])
        known = tf.reduce_all((labels >= 1) & (labels <= classes))
        with tf.control_dependencies(
            [
                tf.debugging.Assert(inside & upright, ["box outside its image", boxes]),
                tf.debugging.Assert(known, ["label outside the map", labels]),
            ]
        ):
            return {key: tf.identity(value) for key, value in record.items()}

    return check


def _options(threads: int | None) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    if threads is not None:
        options.threading.private_threadpool_size = threads
    return options


@contextmanager
def _dataset_builder(build: Callable[..., tf.data.Dataset]) -> Iterator[None]:
    """The OD API's own seam for another reader: the table that its input functions look in."""
    table = inputs.INPUT_BUILDER_UTIL_MAP
    before = table["dataset_build"]
    table["dataset_build"] = build
    try:
        yield
    finally:
        table["dataset_build"] = before
