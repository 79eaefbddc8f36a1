"""Training records in one seeded order of the whole group, through the OD API's decoder and
augmentation.

The OD API shuffles the files without a seed and then shards them, so independent workers overlap
(with two workers 72 of 100 files are seen in a pass), it fails when there are fewer files than
workers, and it begins at the first file whenever it is started. Here step s takes images
s x global_batch to (s + 1) x global_batch of one endless order, and each worker its share of them.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from object_detection import inputs
from object_detection.builders import decoder_builder
from object_detection.core.standard_fields import InputDataFields as Fields

from launcher.errors import ConfigError
from launcher.odapi import label_map
from launcher.odapi.protos import Message
from launcher.records import expand, require_records
from launcher.records.index import Order, index_records
from launcher.runtime import augmentation, cgroup
from launcher.runtime.source import Share, Source

BOX_TOLERANCE = 1e-3
"""How far a box may reach out of its image, as a fraction of its side: float rounding, no more."""

_CHUNK = 16  # records of one call into Python
_CALLS = 8
"""Calls at a time, so 128 records are on their way: a network disk's 5 ms each are hidden up to
1,600 images a second."""

_READY = 4
"""Batches that wait for each device of this worker, a micro-batch of one replica each: enough for
images that take longer to decode, and of EfficientDet-D7 (27 MiB an image) little memory. With
AUTOTUNE they double whenever they were all there and then ran out, as around each checkpoint, up
to half of the host's memory, whatever the container's limit is."""

_Image = tuple[tf.Tensor, dict[str, tf.Tensor]]  # its count, and what the decoder made of it


def make_source(
    pipeline: Message,
    share: Share,
    *,
    seed: int,
    max_bad_records: int = 0,
    say: Callable[[str], None] | None = None,
) -> Source:
    """The records of a pipeline. Raises DataError when there are none or a file is damaged."""
    reader = pipeline.train_input_reader
    files = expand(reader.tf_record_input_reader.input_path)
    require_records(files)
    index = index_records(files, damaged=max_bad_records > 0)
    if say:
        say(f"{len(index):,} training records in {len(files):,} files")
    return Source(
        index,
        Order(len(index), seed if reader.shuffle else None),
        share,
        num_classes=num_classes(pipeline.model),
        texts=label_map.read_texts(Path(reader.label_map_path)) if reader.label_map_path else None,
        max_bad_records=max_bad_records,
        say=say,
    )


def train_dataset(
    pipeline: Message,
    model: Any,
    *,
    batch: int,
    workers: int = 1,
    worker: int = 0,
    seed: int = 0,
    step_images: int | None = None,
    first_step: int = 0,
    threads: int | None = None,
    source: Source | None = None,
) -> tf.data.Dataset:
    """An endless stream of (features, labels), `batch` images in each element.

    It begins with this worker's images of the step after `first_step`. `step_images` are the
    global batch; None: one element of every worker. `threads` decode; None: one a core. What is
    read ahead is what `serialized` reads, an image or two a thread, and a few batches a GPU.

    Raises ConfigError for augmentation or a reader that the OD API cannot build.
    """
    calls = threads or os.cpu_count() or 1
    ready = _READY * max(1, len(tf.config.list_physical_devices("GPU")))
    share = Share(workers, worker, step_images or workers * batch)
    source = source or make_source(pipeline, share, seed=seed)

    def build(
        config: Message, transform_input_data_fn: Callable[[Any], Any], **_: Any
    ) -> tf.data.Dataset:
        decode = decoder_builder.build(config).decode
        check = _checked(num_classes(pipeline.model))
        first = first_step * source.share.images

        @tf.autograph.experimental.do_not_convert
        def decoded(count: tf.Tensor, record: tf.Tensor) -> _Image:
            return count, check(decode(record))

        @tf.autograph.experimental.do_not_convert
        def transformed(count: tf.Tensor, image: dict[str, tf.Tensor]) -> Any:
            position = source.share.position(count)
            # AutoGraph takes seconds of a start, and nearly all of the OD API does without it.
            try:
                with augmentation.drawn_from(seed, position):
                    return transform_input_data_fn(dict(image))
            except tf.errors.OperatorNotAllowedInGraphError:  # random_square_crop_by_scale's "if"
                with augmentation.drawn_from(seed, position):
                    return tf.function(transform_input_data_fn)(dict(image))

        images = serialized(source, first).map(decoded, calls)
        if source.tolerant:
            images = _mended(images, source, first)
        return (
            images.map(transformed, calls)
            .batch(batch, drop_remainder=True)
            # Only an endless stream keeps its static batch size under a multi-worker strategy.
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
            .prefetch(ready)
            .with_options(_options(threads))
        )

    try:
        with _dataset_builder(build):
            return inputs.train_input(
                pipeline.train_config, pipeline.train_input_reader, pipeline.model, model=model
            )
    except (ValueError, KeyError, NotImplementedError) as e:
        raise ConfigError(
            f"the Object Detection API cannot make its input ({' '.join(str(e).split())[:200]})",
            place="pipeline.config, train_config and train_input_reader",
            remedy="Compare them with a published one: launcher recipes",
        ) from e


def serialized(source: Source, first: int = 0) -> tf.data.Dataset:
    """(count, record) of this worker's images from number `first` on, without end."""

    def read(counts: tf.Tensor) -> tf.data.Dataset:
        data = tf.numpy_function(source.read, [counts], tf.string)
        return counts, tf.ensure_shape(data, counts.shape)

    return (
        tf.data.Dataset.range(first, np.iinfo(np.int64).max)
        .batch(_CHUNK, drop_remainder=True)
        .map(read, _CALLS)
        .unbatch()
    )


def _mended(images: tf.data.Dataset, source: Source, first: int) -> tf.data.Dataset:
    """Without the images that could not be decoded; the next good one stands in for them.

    So the count of images goes on without a gap, and a position in the order stays what it is.
    """

    def gap(expected: tf.Tensor, image: _Image) -> tuple[tf.Tensor, Any]:
        count, content = image

        def skip() -> tf.Tensor:
            skipped = tf.numpy_function(_skip, [expected, count], tf.int64)
            return tf.ensure_shape(skipped, [])

        def _skip(start: np.int64, end: np.int64) -> np.int64:
            source.skip(int(start), int(end))
            return start

        begin = tf.cond(count > expected, skip, lambda: expected)
        return count + 1, (begin, count, content)

    def repeated(begin: tf.Tensor, count: tf.Tensor, content: Any) -> tf.data.Dataset:
        return tf.data.Dataset.range(begin, count + 1).map(lambda number: (number, content))

    without = tf.autograph.experimental.do_not_convert
    return (
        images.ignore_errors()
        .scan(tf.constant(first, tf.int64), without(gap))
        .flat_map(without(repeated))
    )


def num_classes(model: Message) -> int:
    return int(getattr(model, model.WhichOneof("model")).num_classes)


def _checked(classes: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Stops at a box outside its image or a label outside the map, which the OD API drops or
    trains on without a word. `Source.find_damage` finds the file and record afterwards."""

    def check(record: dict[str, Any]) -> dict[str, Any]:
        boxes, labels = record[Fields.groundtruth_boxes], record[Fields.groundtruth_classes]
        inside = tf.reduce_all((boxes >= -BOX_TOLERANCE) & (boxes <= 1 + BOX_TOLERANCE))
        upright = tf.reduce_all(boxes[:, :2] <= boxes[:, 2:])
        known = tf.reduce_all((labels >= 1) & (labels <= classes))
        each = tf.equal(tf.shape(boxes)[0], tf.shape(labels)[0])
        with tf.control_dependencies(
            [
                tf.debugging.Assert(inside & upright, ["box outside its image", boxes]),
                tf.debugging.Assert(known, ["label outside the map", labels]),
                tf.debugging.Assert(each, ["not one label for each box", labels]),
            ]
        ):
            return {key: tf.identity(value) for key, value in record.items()}

    return check


def _options(threads: int | None) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # What is written runs: by default TensorFlow puts several batches together at once, and adds
    # prefetches that tune themselves. A strategy's own have to fit into the container.
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = True
    limit = cgroup.memory_limit()
    if limit is not None:
        options.autotune.ram_budget = limit // 2  # as TensorFlow takes of a host's
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
