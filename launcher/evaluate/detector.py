"""A checkpoint's model over the val images. Needs TensorFlow: `compat.load()` comes first.

The inference is that of the OD API's exporter_lib_v2 (decode, model.preprocess, predict,
postprocess); a test compares the two box by box.
"""

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from object_detection.builders import model_builder
from object_detection.core.standard_fields import DetectionResultFields, InputDataFields
from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

from launcher.errors import ConfigError
from launcher.evaluate.follow import unreadable
from launcher.odapi import averages, norm_layers

LABEL_OFFSET = 1  # the model counts classes from 0, label maps and COCO from 1
SIDE = 256  # of an image to make the variables with, where the resizer gives many shapes
FIELDS = (
    DetectionResultFields.detection_boxes,
    DetectionResultFields.detection_scores,
    DetectionResultFields.detection_classes,
    DetectionResultFields.num_detections,
)


class CheckpointGone(Exception):  # noqa: N818 (not an error: the manager keeps only the newest)
    """The checkpoint was deleted before it could be read."""


@dataclass(frozen=True)
class Detections:
    """Of one image, best first: boxes [n, 4] as x, y, width, height in pixels of the original
    image, scores [n], classes [n] as label map ids.
    """

    source_id: str
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]


class Detector:
    """Builds the model of a pipeline once; `restore` and `detect` then follow each other."""

    def __init__(
        self,
        pipeline: Any,
        paths: Sequence[Path],
        batch: int,
        threads: int | None,
        *,
        averaged: bool = False,
        norm: str = "batch",
    ):
        """`batch` is used when the resizer gives all images one shape, else it is 1. `averaged`:
        detect with the moving averages of the weights that the checkpoints have. `norm`: the kind
        of normalization that they were trained with."""
        # Without these two batch normalisation runs in training mode and mAP collapses.
        with warnings.catch_warnings(action="ignore"):  # deprecated, and what the OD API reads
            tf.keras.backend.set_learning_phase(False)
        self._model: Any = model_builder.build(pipeline.model, is_training=False)
        self._model._is_training = False
        self.dataset, self.batch, image = self._input(paths, batch, threads)
        self.image_shape = image.shape[1:]  # of a resized image, as far as all have the same
        self._make_variables(image.shape[1:])
        norm_layers.for_inference(self._model, norm)
        # One trace for all batches. Their size is left open: with a fixed one the OD API unrolls
        # its suppression image by image and class by class. Its code is graph code that has no use
        # for AutoGraph, whose conversion took two thirds of the time.
        self._infer: Any = tf.function(
            self._detections,
            input_signature=[image, tf.TensorSpec([image.shape[0], 3], tf.int32)],
            autograph=False,
        )
        self._infer.get_concrete_function()  # all variables are there before the first restore
        self._averaged = averaged

    @property
    def model(self) -> Any:
        """The OD API's DetectionModel, with all of its variables made."""
        return self._model

    @property
    def one_shape(self) -> bool:
        """Whether the resizer gives all images one shape."""
        return bool(self.image_shape.is_fully_defined())

    def restore(self, prefix: Path) -> None:
        """Raises CheckpointGone, ConfigError for another model's,
        UnreadableCheckpointError for a damaged one."""
        # A new object each time: as long as it lives it keeps what a checkpoint has and it has not,
        # an optimizer with the whole graph of objects.
        checkpoint = tf.train.Checkpoint(model=self._model)
        try:
            status = checkpoint.restore(os.fspath(prefix)).expect_partial()
            status.assert_existing_objects_matched()
            if self._averaged:
                averages.restore(self._model, prefix)
        except (AssertionError, ValueError) as e:
            raise ConfigError(
                f"the checkpoint is of another model ({_first_line(e)})",
                place=str(prefix),
                remedy="Score it with the pipeline.config that it was trained with",
            ) from None
        except (tf.errors.OpError, IndexError) as e:  # IndexError: a data file is cut short
            if not prefix.with_name(f"{prefix.name}.index").exists():
                raise CheckpointGone(prefix.name) from None
            raise unreadable(prefix, _first_line(e)) from None

    def detect(self) -> Iterator[list[Detections]]:
        """The val images in the order of the records, a batch at a time."""
        for source_ids, sizes, images, true_shapes in self.dataset:
            found = self._infer(images, true_shapes)
            arrays = {name: tensor.numpy() for name, tensor in found.items()}
            yield [
                _of_image(s.decode("utf-8", "replace"), size, {n: a[i] for n, a in arrays.items()})
                for i, (s, size) in enumerate(zip(source_ids.numpy(), sizes.numpy(), strict=True))
            ]

    def _input(
        self, paths: Sequence[Path], batch: int, threads: int | None
    ) -> tuple[Any, int, Any]:
        """The data set of (source ids, original sizes, images, true shapes), its batch, and the
        shape of a batch of images.
        """
        decoder = TfExampleDecoder()

        @tf.autograph.experimental.do_not_convert
        def load(record: Any) -> tuple[Any, Any, Any, Any]:
            example = decoder.decode(record)
            image = tf.cast(example[InputDataFields.image], tf.float32)
            resized, true_shape = self._model.preprocess(image[tf.newaxis])
            size = example[InputDataFields.original_image_spatial_shape]
            return example[InputDataFields.source_id], size, resized[0], true_shape[0]

        options = tf.data.Options()
        options.deterministic = True
        if threads is not None:
            options.threading.private_threadpool_size = threads
        dataset = tf.data.TFRecordDataset([os.fspath(path) for path in paths])
        dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE)
        shape = dataset.element_spec[2].shape
        size = batch if shape.is_fully_defined() else 1
        dataset = dataset.batch(size).prefetch(2).with_options(options)
        batches = None if size > 1 else 1
        return dataset, size, tf.TensorSpec([batches, *shape], tf.float32)

    def _make_variables(self, shape: Any) -> None:
        """By one call outside of a graph: variables that are made in a trace make a second one."""
        height, width, channels = shape[0] or SIDE, shape[1] or SIDE, shape[2] or 3
        image = tf.zeros([1, height, width, channels])
        self._model.predict(image, tf.constant([[height, width, channels]]))

    def _detections(self, images: Any, true_shapes: Any) -> dict[str, Any]:
        predictions = self._model.predict(images, true_shapes)
        detections = self._model.postprocess(predictions, true_shapes)
        if missing := [name for name in FIELDS if name not in detections]:
            raise ConfigError(
                f"the model gives no {missing[0]}",
                place="model in pipeline.config",
                remedy="Only models that detect boxes with classes can be scored",
            )
        # Masks and keypoints, if any, are left: boxes are what is scored.
        return {name: tf.cast(detections[name], tf.float32) for name in FIELDS}


def _of_image(source_id: str, size: Any, found: dict[str, Any]) -> Detections:
    boxes, scores, classes, count = (found[name] for name in FIELDS)
    count = int(count)
    height, width = map(float, size)
    ymin, xmin, ymax, xmax = boxes[:count].astype(np.float64).T
    pixels = np.stack(
        [xmin * width, ymin * height, (xmax - xmin) * width, (ymax - ymin) * height], axis=1
    )
    # A model whose loss went to NaN detects NaN: nothing that could be sorted or written as JSON.
    good = np.isfinite(pixels).all(axis=1) & np.isfinite(scores[:count])
    return Detections(
        source_id,
        pixels[good],
        scores[:count][good].astype(np.float64),
        classes[:count][good].astype(np.int64) + LABEL_OFFSET,
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= 300 else f"{lines[0][:300]}..."
