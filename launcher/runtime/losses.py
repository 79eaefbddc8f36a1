"""What a micro-batch adds to the loss of a step, and what the sum of all is divided by.

The terms, the target assignment and the divisors are the OD API's own; odapi/normalizers.py says
which divisor a model has. Regularization depends on no image: it is taken once for each step.
"""

import threading
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from object_detection import model_lib
from object_detection.core.standard_fields import BoxListFields, InputDataFields
from object_detection.utils import ops

from launcher.odapi.normalizers import Normalizer
from launcher.odapi.protos import Message
from launcher.runtime.model import set_training

TOTAL, REGULARIZATION = "Loss/total_loss", "Loss/regularization_loss"


@dataclass(frozen=True)
class Part:
    """Of one micro-batch; the step's loss is the sum of all parts / max(1, sum of the counts)."""

    total: tf.Tensor  # what is differentiated: the sum of the terms
    terms: dict[str, tf.Tensor]
    count: tf.Tensor  # what this micro-batch adds to the divisor; 0 when there is none


class Losses:
    """The losses of a model under one normalizer. Made once, before the model is traced."""

    def __init__(
        self,
        model: Any,
        train_config: Message,
        normalizer: Normalizer,
        *,
        micro_batches: int,
        training_step: tf.Variable,
        scale: float = 1.0,
    ) -> None:
        """`micro_batches`: in one step, over all replicas. `scale`: of a loss without a divisor."""
        self._model = model
        self._config = train_config
        self._training_step = training_step
        self._mean = 1.0 / micro_batches
        self._scale = scale
        self._terms: Callable[[Any, Any], tuple[dict[str, Any], Any]] = {
            Normalizer.MATCHES: self._over_matches,
            Normalizer.NOTHING: self._summed,
            Normalizer.BOXES: self._over_boxes,
        }.get(normalizer, self._averaged)
        model._groundtruth_lists = GroundtruthByReplica()
        _keep_anchors_by_replica(model)

    def part(self, features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]) -> Part:
        """Within a tape, in the replica's context."""
        set_training(self._model, True)
        labels = model_lib.unstack_batch(
            labels, unpad_groundtruth_tensors=self._config.unpad_groundtruth_tensors
        )
        model_lib.provide_groundtruth(self._model, labels, training_step=self._training_step)
        shapes = features[InputDataFields.true_image_shape]
        predictions = self._model.predict(
            features[InputDataFields.image], shapes, **self._model.get_side_inputs(features)
        )
        return self.part_of(ops.bfloat16_to_float32_nested(predictions), shapes)

    def part_of(self, predictions: dict[str, Any], shapes: tf.Tensor) -> Part:
        """For groundtruth that the model was given."""
        terms, count = self._terms(predictions, shapes)
        terms = {name: tf.cast(term, tf.float32) for name, term in terms.items()}
        return Part(tf.add_n(list(terms.values())), terms, tf.cast(count, tf.float32))

    def regularization(self) -> tf.Tensor:
        """Weight decay of the model's own hyperparameters, as one number; 0 without any."""
        terms = self._model.regularization_losses() if self._config.add_regularization_loss else []
        terms = ops.bfloat16_to_float32_nested(terms)
        return tf.add_n([tf.cast(term, tf.float32) for term in terms]) if terms else tf.zeros([])

    def _averaged(self, predictions: Any, shapes: tf.Tensor) -> tuple[dict[str, Any], Any]:
        terms = self._model.loss(predictions, shapes)
        return {name: term * self._mean for name, term in terms.items()}, 0.0

    def _over_matches(self, predictions: Any, shapes: tf.Tensor) -> tuple[dict[str, Any], Any]:
        with _ssd_sums(self._model) as matches:
            return self._model.loss(predictions, shapes), tf.add_n(matches)

    def _summed(self, predictions: Any, shapes: tf.Tensor) -> tuple[dict[str, Any], Any]:
        terms = self._model.loss(predictions, shapes)
        return {name: term * self._scale for name, term in terms.items()}, 0.0

    def _over_boxes(self, predictions: Any, shapes: tf.Tensor) -> tuple[dict[str, Any], Any]:
        """CenterNet divides all of its terms by max(1, boxes): that much is taken back."""
        weights = self._model.groundtruth_lists(BoxListFields.weights)
        boxes = tf.add_n([tf.math.count_nonzero(w, dtype=tf.float32) for w in weights])
        terms = self._model.loss(predictions, shapes)
        return {name: term * tf.maximum(boxes, 1.0) for name, term in terms.items()}, boxes


class GroundtruthByReplica(threading.local, UserDict[str, Any]):
    """A model's groundtruth, each replica's own.

    A mirrored strategy runs its replicas in threads that take turns at each synchronised batch
    norm. The OD API keeps the groundtruth in one dictionary of the model: the first replica would
    then compute its loss with the boxes of the last one's images.
    """


class _Anchors(threading.local):
    value: Any = None


def _keep_anchors_by_replica(model: Any) -> None:
    """SSD keeps those of an image's size in an attribute from before its box predictor, with the
    norms of that, until the loss; replicas whose images have other sizes would share the last ones.
    An attribute is made a thread's own by its class."""
    if "_anchors" not in vars(model):  # CenterNet has none; or this is done
        return
    anchors = _Anchors()
    anchors.value = vars(model).pop("_anchors")
    own = property(lambda _: anchors.value, lambda _, value: setattr(anchors, "value", value))
    model.__class__ = type(type(model).__name__, (type(model),), {"_anchors": own})


@contextmanager
def _ssd_sums(model: Any) -> Iterator[list[tf.Tensor]]:
    """SSD's loss without its divisor, which goes to the list: the sum of the regression weights
    after sampling. Nothing in a loss lets other replicas take their turn."""
    matches: list[tf.Tensor] = []
    localization = model._localization_loss

    def recording(*tensors: Any, weights: tf.Tensor, **options: Any) -> tf.Tensor:
        matches.append(tf.reduce_sum(tf.cast(weights, tf.float32)))
        return localization(*tensors, weights=weights, **options)

    model._localization_loss, model._normalize_loss_by_num_matches = recording, False
    try:
        yield matches
    finally:
        model._localization_loss, model._normalize_loss_by_num_matches = localization, True
