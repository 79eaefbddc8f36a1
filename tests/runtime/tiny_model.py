"""A DetectionModel of one weight, for what concerns the step and not the model. `compat.load()`
comes first."""

import time
from typing import Any

import tensorflow as tf
from object_detection.core.model import DetectionModel

from launcher.odapi.normalizers import Normalizer
from launcher.runtime.step import Requests, StepResult, TrainStep


class TinyModel(DetectionModel):  # type: ignore[misc]
    """Its loss is weight x slope, so that the gradient is the slope. `seen` is not trained and each
    replica's own, as running statistics are: it counts images, replica 1 each of them twice."""

    def __init__(self, slope: float = 1.0) -> None:
        super().__init__(num_classes=1)
        self.weight = tf.Variable(0.0, name="weight")
        self.seen = tf.Variable(
            0.0,
            trainable=False,
            name="seen",
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        self.slope = slope

    def predict(self, preprocessed_inputs: Any, true_image_shapes: Any, **_: Any) -> Any:
        images = tf.cast(tf.shape(preprocessed_inputs)[0], tf.float32)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        self.seen.assign_add(images * (1.0 + tf.cast(replica, tf.float32)))
        return {"value": self.weight * self.slope}

    def loss(self, prediction_dict: Any, true_image_shapes: Any) -> Any:
        return {"Loss/tiny": prediction_dict["value"]}

    def regularization_losses(self) -> Any:
        return []

    def preprocess(self, inputs: Any) -> Any: ...
    def postprocess(self, prediction_dict: Any, true_image_shapes: Any, **_: Any) -> Any: ...
    def restore_map(self, **_: Any) -> Any: ...
    def restore_from_objects(self, **_: Any) -> Any: ...
    def updates(self) -> Any: ...


class TinyTraining:
    """The worker's own step on a TinyModel, with the optimizer of a train_config."""

    def __init__(
        self,
        train_config: Any,
        *,
        images: int = 4,
        strategy: Any = None,
        accumulation: int = 1,
        input_seconds: float = 0.0,
        **options: Any,
    ) -> None:
        """`input_seconds`: how long each micro-batch takes to come."""
        from launcher.runtime.model import build_optimizer

        class Pipeline:
            pass

        pipeline: Any = Pipeline()
        pipeline.train_config = self.config = train_config
        strategy = strategy or tf.distribute.OneDeviceStrategy("/cpu:0")
        with strategy.scope():
            self.done = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.model = TinyModel()
            self.optimizer, _ = build_optimizer(pipeline, self.done, [self.model.weight])
            self.averages = options.pop("averages", lambda model: None)(self.model)
            self.step = TrainStep(
                strategy, self.model, self.optimizer, self.done, train_config, accumulation,
                normalizer=Normalizer.MICRO_BATCH, averages=self.averages, **options,
            )  # fmt: skip
        self.strategy = strategy
        features = {
            "image": tf.zeros([images, 1, 1, 3]),
            "true_image_shape": tf.ones([images, 3], tf.int32),
        }
        labels = {
            "num_groundtruth_boxes": tf.zeros([images], tf.int32),
            "groundtruth_boxes": tf.zeros([images, 1, 4]),
            "groundtruth_classes": tf.zeros([images, 1, 1]),
        }
        dataset = tf.data.Dataset.from_tensors((features, labels)).repeat()
        if input_seconds:
            dataset = dataset.map(lambda *batch: _late(input_seconds, batch))
        self.data = iter(strategy.distribute_datasets_from_function(lambda _: dataset))

    def one(self) -> StepResult:
        return self.step(self.data, Requests())


def _late(seconds: float, batch: Any) -> Any:
    def wait() -> None:
        time.sleep(seconds)

    with tf.control_dependencies([tf.py_function(wait, [], [])]):
        return tf.nest.map_structure(tf.identity, batch)
