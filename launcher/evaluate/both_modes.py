"""The same val images scored in the modes of training and of inference. Needs TensorFlow.

Batch normalization normalizes with a batch's moments in training, and with averages of them in
inference. Where the two give different networks, the training loss looks healthy and the detections
do not (mAP 0.02 to 0.03 in place of 0.42, batch norm over 2 images: preflight/evidence.py). So the
loss of the same images is computed both ways; no variable of the model changes by it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from launcher.evaluate.detector import LABEL_OFFSET, Detector
from launcher.evaluate.ground_truth import ValImage
from launcher.evaluate.process import say
from launcher.odapi import norm_layers
from launcher.odapi.protos import Message
from launcher.worker_config import WorkerConfig

IMAGES = 16
"""At most: two forward passes of them a checkpoint."""
_AVERAGED = ("renorm", "moving")
"""Kinds that train with moments over the whole step, or near to it."""


@dataclass(frozen=True)
class Modes:
    """Mean losses of `images` val images, without regularization."""

    inference: float
    training: float
    images: int
    moments_over: int
    """Images that one set of moments is taken over in the mode of training."""

    def to_json(self) -> dict[str, Any]:
        return {
            "inference_loss": round(self.inference, 6),
            "training_loss": round(self.training, 6),
            "images": self.images,
            "moments_over": self.moments_over,
        }


def moments_over(config: WorkerConfig, pipeline: Message) -> int:
    """Images of a set of moments in training, at most IMAGES; 0: there is nothing to compare.

    Only SSD's (EfficientDet and RetinaNet among them): the published Faster R-CNNs train with
    frozen statistics, and CenterNet's loss wants more than boxes.
    """
    if pipeline.model.WhichOneof("model") != "ssd" or pipeline.model.ssd.freeze_batchnorm:
        return 0
    frozen = pipeline.train_config
    if frozen.freeze_variables or frozen.update_trainable_variables:
        return 0  # layers whose weights are frozen normalize with their statistics in training
    if config.norm not in ("batch", *_AVERAGED):
        return 0
    images = config.statistics_images or config.per_replica_batch
    if config.sync_batch_norm:
        images *= config.replicas
    if config.norm in _AVERAGED:
        images = config.global_batch
    return min(images, IMAGES)


class BothModes:
    """Measures the detector's present weights; traces its function at the first call."""

    def __init__(self, detector: Detector, images: Sequence[ValImage], over: int) -> None:
        """`over` as `moments_over` says, above 0."""
        self._detector = detector
        self._by_source_id = {image.source_id: image for image in images}
        self._over = over
        self._count = min(len(images), IMAGES) // over * over
        self._losses: Any = None
        self._failed = False

    def measure(self) -> Modes | None:
        """None where it cannot be told: fewer val images than one set of moments takes, images of
        different shapes, or a model whose loss is not to be had in inference."""
        if self._failed or not self._count or not self._detector.one_shape:
            return None
        try:
            batch = self._batch()
            if self._losses is None:
                self._losses = self._traced(batch)
            inference, training = map(float, self._losses(*batch))
        except Exception as e:
            # It is a check beside the scores: whatever goes wrong in it must not cost them.
            self._failed = True
            say(f"warning: training and inference are not compared: {type(e).__name__}: {e}"[:300])
            return None
        if not np.isfinite([inference, training]).all():
            return None
        return Modes(inference, training, self._count, self._over)

    def _traced(self, batch: Sequence[Any]) -> Any:
        signature = [tf.TensorSpec(t.shape, t.dtype) for t in batch]
        return tf.function(
            self._both, input_signature=signature, autograph=False
        ).get_concrete_function()

    def _both(self, images: Any, shapes: Any, boxes: Any, classes: Any, weights: Any) -> Any:
        """The losses in inference and in training."""
        model = self._detector.model
        model.provide_groundtruth(
            groundtruth_boxes_list=tf.unstack(boxes),
            groundtruth_classes_list=tf.unstack(classes),
            groundtruth_weights_list=tf.unstack(weights),
        )

        def loss() -> Any:
            terms = model.loss(model.predict(images, shapes), shapes)
            return tf.add_n([tf.cast(term, tf.float32) for term in terms.values()])

        with _one_assignment(model):
            inference = loss()
            with norm_layers.own_moments(model, self._count // self._over):
                return inference, loss()

    def _batch(self) -> list[Any]:
        """images [n, h, w, 3], true shapes [n, 3], boxes [n, m, 4] from 0 to 1, classes [n, m, c],
        weights [n, m], 0 for what only fills up."""
        ids: list[bytes] = []
        images, shapes = [], []
        for source_ids, _, some, true_shapes in self._detector.dataset:
            ids += source_ids.numpy().tolist()
            images.append(some.numpy())
            shapes.append(true_shapes.numpy())
            if len(ids) >= self._count:
                break
        pixels = np.concatenate(images)[: self._count]
        sizes = np.concatenate(shapes)[: self._count]
        truth = [self._by_source_id[i.decode("utf-8", "replace")] for i in ids[: self._count]]
        return [
            tf.constant(array)
            for array in (pixels, sizes, *self._groundtruth(truth, sizes, pixels.shape[1:3]))
        ]

    def _groundtruth(self, truth: Sequence[ValImage], sizes: Any, padded: Any) -> tuple[Any, ...]:
        most = max(len(image.boxes) for image in self._by_source_id.values()) or 1
        classes_count = int(self._detector.model.num_classes)
        boxes = np.zeros([len(truth), most, 4], np.float32)
        classes = np.zeros([len(truth), most, classes_count], np.float32)
        weights = np.zeros([len(truth), most], np.float32)
        for i, image in enumerate(truth):
            # The picture is in the upper left corner of what the model gets.
            down = sizes[i][0] / padded[0] / image.height
            across = sizes[i][1] / padded[1] / image.width
            for j, box in enumerate(b for b in image.boxes if not b.crowd):
                corners = (box.y, box.x, box.y + box.height, box.x + box.width)
                boxes[i, j] = np.array(corners) * (down, across, down, across)
                classes[i, j, box.category - LABEL_OFFSET] = 1
                weights[i, j] = 1
        return boxes, classes, weights


@contextmanager
def _one_assignment(model: Any) -> Iterator[None]:
    """Targets depend on anchors and ground truth alone, and are traced image by image: the second
    loss takes the first one's."""
    assign = model._assign_targets
    made: list[Any] = []

    def once(*arguments: Any, **options: Any) -> Any:
        if not made:
            made.append(assign(*arguments, **options))
        return made[0]

    model._assign_targets = once
    try:
        yield
    finally:
        model._assign_targets = assign
