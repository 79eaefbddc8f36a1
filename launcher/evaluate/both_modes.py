"""The same val images scored in the modes of training and of inference. Needs TensorFlow.

Batch normalization normalizes with a batch's moments in training, and with averages of them in
inference. Where the two give different networks, the training loss looks healthy and the detections
do not (mAP 0.02 to 0.03 in place of 0.42, batch norm over 2 images: preflight/evidence.py). So the
loss of the same images is computed both ways; no variable of the model changes by it.

It is a check beside the scores and must not cost them their memory. As many images go through the
network at once as through the detector, one mode after the other; where one set of moments takes
more, nothing is compared. The losses, whose tensors of all anchors and classes are larger than what
the network holds, are computed image by image unless these are small.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from object_detection.core.box_list import BoxList

from launcher.evaluate.detector import LABEL_OFFSET, Detector
from launcher.evaluate.ground_truth import ValImage
from launcher.evaluate.process import say
from launcher.odapi import norm_layers
from launcher.odapi.protos import Message
from launcher.worker_config import WorkerConfig

IMAGES = 16
"""At most: two forward passes of them a checkpoint."""
SMALL = IMAGES * 320 * 320
"""Pixels at once that are allowed whatever the detector's batch is: little beside TensorFlow."""
SMALL_LOSS = IMAGES * 128 * 128
"""Pixels whose losses are computed at once; one image, where it has more."""
_PREDICTED = ("box_encodings", "class_predictions_with_background")
"""What an SSD's loss takes of its predictions."""
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


def of_run(
    config: WorkerConfig, pipeline: Message, detector: Detector, images: Sequence[ValImage]
) -> "BothModes | None":
    """None where there is nothing to compare, or it cannot be done, which the log tells."""
    over = moments_over(config, pipeline)
    if not over:
        return None
    both = BothModes(detector, images, over)
    if both.impossible:
        say(f"training and inference are not compared: {both.impossible}")
        return None
    return both


def at_once(over: int, images: int, batch: int, pixels: int) -> int:
    """Of `images`, a multiple of `over`, those of one call: whole sets of moments in equal calls.
    0: one set alone is more than a batch of the detector, whose images have `pixels`."""
    most = min(images, max(batch, SMALL // pixels))
    return max((n for n in range(over, most + 1, over) if images % n == 0), default=0)


class BothModes:
    """Measures the detector's present weights; traces its function at the first call."""

    def __init__(self, detector: Detector, images: Sequence[ValImage], over: int) -> None:
        """`over` as `moments_over` says, above 0."""
        self._detector = detector
        self._by_source_id = {image.source_id: image for image in images}
        self._over = over
        self._count = min(len(images), IMAGES) // over * over
        first = sorted(images, key=lambda image: image.path)[: self._count]  # the detector's order
        self._most_boxes = max((len(image.boxes) for image in first), default=0) or 1
        self._at_once, self.impossible = self._budget(len(images))
        self._networks: tuple[Any, Any] | None = None
        self._loss: Any = None

    def _budget(self, images: int) -> tuple[int, str]:
        """Images of a call, and why there is none."""
        if not self._detector.one_shape:
            return 0, "the images have different shapes"
        if not self._count:
            return 0, f"{images} val images, one set of moments is over {self._over} in training"
        height, width, _ = self._detector.image_shape
        batch = self._detector.batch
        if number := at_once(self._over, self._count, batch, height * width):
            return number, ""
        return 0, (
            f"one set of moments is over {self._over} images in training, and {batch} of "
            f"{width} x {height} px are what goes through the detector at once"
        )

    def measure(self) -> Modes | None:
        """None where it cannot be told: a model whose loss is not to be had in inference."""
        if self.impossible:
            return None
        try:
            found = self._measured()
        except Exception as e:
            # Whatever goes wrong in it must not cost the scores.
            self.impossible = f"{type(e).__name__}: {e}"
            say(f"warning: training and inference are not compared: {self.impossible}"[:300])
            return None
        if not np.isfinite(found).all():
            return None
        return Modes(float(found[0]), float(found[1]), self._count, self._over)

    def _measured(self) -> npt.NDArray[np.float64]:
        """The losses in inference and in training, over the matches of all images as the OD API
        divides them in a batch."""
        sums, matches = np.zeros(2), 0.0
        for images, shapes, *truth in self._batches():
            if self._networks is None:
                self._networks = self._traced(images, shapes)
            for mode, network in enumerate(self._networks):
                *predictions, anchors = network(images, shapes)
                step = self._of_one_loss(images)
                for first in range(0, len(images), step):
                    some = (shapes, *predictions, *truth)
                    loss, matched = self._loss_of([t[first : first + step] for t in some], anchors)
                    sums[mode] += loss
                    matches += matched / len(self._networks)  # the same in both
        divided = self._detector.model._normalize_loss_by_num_matches
        return sums / max(matches, 1.0) if divided else sums

    def _traced(self, images: Any, shapes: Any) -> tuple[Any, Any]:
        """The network in inference and in training."""
        model = self._detector.model

        def predict(images: Any, shapes: Any) -> tuple[Any, ...]:
            found = model.predict(images, shapes)
            return tuple(found[name] for name in (*_PREDICTED, "anchors"))

        inference = _function(predict, [images, shapes])
        with norm_layers.own_moments(model, len(images) // self._over):
            return inference, _function(predict, [images, shapes])

    def _of_one_loss(self, images: Any) -> int:
        most = max(1, SMALL_LOSS // (images.shape[1] * images.shape[2]))
        return next(n for n in range(min(most, len(images)), 0, -1) if len(images) % n == 0)

    def _loss_of(self, some: Sequence[Any], anchors: Any) -> tuple[float, float]:
        """Of a few images: the sum of their losses, and their matches."""
        if self._loss is None:
            self._loss = _function(self._summed, [*some, anchors])
        loss, matched = self._loss(*some, anchors)
        return float(loss), float(matched)

    def _summed(self, shapes: Any, *arguments: Any) -> tuple[Any, Any]:
        *predictions, boxes, classes, weights, anchors = arguments
        model = self._detector.model
        model._anchors = BoxList(anchors)  # those that were there are of another trace
        model.provide_groundtruth(
            groundtruth_boxes_list=tf.unstack(boxes),
            groundtruth_classes_list=tf.unstack(classes),
            groundtruth_weights_list=tf.unstack(weights),
        )
        with _undivided(model) as weights_of_matches:
            terms = model.loss(dict(zip(_PREDICTED, predictions, strict=True)), shapes)
        loss = tf.add_n([tf.cast(term, tf.float32) for term in terms.values()])
        return loss, tf.reduce_sum(weights_of_matches[0])

    def _batches(self) -> Iterator[list[Any]]:
        """images [n, h, w, 3], true shapes [n, 3], boxes [n, m, 4] from 0 to 1, classes [n, m, c],
        weights [n, m], 0 for what only fills up."""
        some = self._detector.dataset.unbatch().take(self._count)
        for ids, _, images, shapes in some.batch(self._at_once):
            truth = [self._by_source_id[i.decode("utf-8", "replace")] for i in ids.numpy()]
            made = self._groundtruth(truth, shapes.numpy(), images.shape[1:3])
            yield [images, shapes, *(tf.constant(array) for array in made)]

    def _groundtruth(self, truth: Sequence[ValImage], sizes: Any, padded: Any) -> tuple[Any, ...]:
        size = len(truth), self._most_boxes
        boxes = np.zeros([*size, 4], np.float32)
        classes = np.zeros([*size, int(self._detector.model.num_classes)], np.float32)
        weights = np.zeros(size, np.float32)
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


def _function(function: Any, arguments: Sequence[Any]) -> Any:
    """Traced for such arguments."""
    signature = [tf.TensorSpec(t.shape, t.dtype) for t in arguments]
    made = tf.function(function, input_signature=signature, autograph=False)
    return made.get_concrete_function()


@contextmanager
def _undivided(model: Any) -> Iterator[list[Any]]:
    """Within it, losses are not divided by the matches. Gives the weights whose sum these are."""
    divides, localization = model._normalize_loss_by_num_matches, model._localization_loss
    weights: list[Any] = []

    def noted(*arguments: Any, **options: Any) -> Any:
        weights.append(options["weights"])
        return localization(*arguments, **options)

    model._normalize_loss_by_num_matches, model._localization_loss = False, noted
    try:
        yield weights
    finally:
        model._normalize_loss_by_num_matches, model._localization_loss = divides, localization
