"""One global batch of 32 images, divided in several ways.

    python -m tests.runtime.splits OUT

A process of its own, because two replicas on a CPU need two logical devices, which can be made
only before TensorFlow starts. Writes each run's gradients and facts to OUT (npz); test_invariant.py
compares them. Batch norm's statistics are fixed (the OD API's freeze_batchnorm).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline

IMAGES, SIDE = 32, 128
OBJECTS = (0, 0, 0, 0, 1, 30, 2, 0, 60, 1, 1, 5, 0, 0, 0, 12, 3, 1, 0, 2) + (0, 0, 0, 0) * 3
"""Of each image: whole micro-batches without any (the first 4, the last 12), and one with 60."""
MOST = 60
WEIGHT_DECAY = 0.02
"""Large, so that counting it twice would show."""
THRESHOLD = 0.25
"""Of clipping, far below the gradient's norm."""


def main(out: Path) -> None:
    compat.load()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    found: dict[str, Any] = {}
    for some in runs(out.parent):
        found |= some
        np.savez(out, **found)


def runs(folder: Path) -> Iterator[dict[str, Any]]:
    import tensorflow as tf

    message, batch = pipeline(), images()
    one = Trainer(tf.distribute.OneDeviceStrategy("/cpu:0"), message)
    yield one.run("1x32x1", batch, 32, "global")
    yield one.run("1x8x4", batch, 8, "global")
    yield one.od_api("od_api 32", batch, 32)
    yield one.od_api("od_api 8", batch, 8)
    yield one.run("1x8x4 micro_batch", batch, 8, "micro_batch")
    summed = pipeline()
    summed.model.ssd.normalize_loss_by_num_matches = False
    summing = Trainer(one.strategy, summed)
    summing.start = one.start
    yield summing.od_api("od_api 8 summed", batch, 8)
    yield summing.run("1x8x4 summed", batch, 8, "micro_batch", loss_images=8)
    mirrored = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    two = Trainer(mirrored, message)
    two.start = one.start
    yield two.run("2x16x1", batch, 16, "global")
    message.train_config.gradient_clipping_by_norm = THRESHOLD
    yield two.run("2x4x4 clipped", batch, 4, "global")
    message.train_config.gradient_clipping_by_norm = 0
    message.model.ssd.freeze_batchnorm = False
    for hyperparams in hyperparams_of(message):
        hyperparams.sync_batch_norm.CopyFrom(hyperparams.batch_norm)
    head = message.model.ssd.box_predictor.convolutional_box_predictor
    head.num_layers_before_predictor, head.min_depth, head.max_depth = 1, 16, 16  # with a norm
    two = Trainer(mirrored, message)
    yield two.run("2x16x1 synchronised", batch, 16, "global")
    wide, tall = noise(SIDE - 32, SIDE + 32), noise(SIDE + 32, SIDE - 32)
    yield {
        "matches of wide and tall": two.matches(wide, tall),
        "matches of each": np.concatenate([one.matches(wide), one.matches(tall)]),
    }
    # The same strategy: two of them in one process number their all-reduces alike.
    yield {"averages": averages(mirrored, folder / "averages")}


def averages(mirrored: Any, prefix: Path) -> Any:
    """Of a weight and a statistic after three steps of two replicas, as a checkpoint has them."""
    import tensorflow as tf
    from google.protobuf import text_format

    from launcher.odapi import protos
    from launcher.odapi.averages import Averages
    from tests.runtime.tiny_model import TinyTraining

    config = text_format.Parse(
        "optimizer { momentum_optimizer { momentum_optimizer_value: 0.9 learning_rate {"
        " constant_learning_rate { learning_rate: 0.5 } } } }",
        protos.message("TrainConfig")(),
    )
    training = TinyTraining(
        config, strategy=mirrored, averages=lambda model: Averages(model, 0.9998)
    )
    training.averages.start(mirrored)
    for _ in range(3):
        training.one()
    tf.train.Checkpoint(averages=training.averages.saved).write(str(prefix))
    saved = tf.train.load_checkpoint(str(prefix))
    keys = [f"averages/values/{name}/.ATTRIBUTES/VARIABLE_VALUE" for name in ("weight", "seen")]
    return np.array([saved.get_tensor(key) for key in keys])


def pipeline() -> Any:
    message = demo_pipeline(Path("no records"), batch=IMAGES, steps=10)
    message.model.ssd.feature_extractor.type = "ssd_mobilenet_v1_keras"  # half the layers to trace
    message.model.ssd.freeze_batchnorm = True
    for hyperparams in hyperparams_of(message):
        hyperparams.regularizer.l2_regularizer.weight = WEIGHT_DECAY
    return message


def hyperparams_of(message: Any) -> tuple[Any, Any]:
    ssd = message.model.ssd
    predictor = ssd.box_predictor.convolutional_box_predictor
    return ssd.feature_extractor.conv_hyperparams, predictor.conv_hyperparams


def images() -> tuple[dict[str, Any], dict[str, Any]]:
    """Noise with random objects, OBJECTS of them in each image."""
    random = np.random.default_rng(0)
    boxes = np.zeros([IMAGES, MOST, 4], np.float32)
    classes = np.zeros([IMAGES, MOST, 3], np.float32)
    weights = np.zeros([IMAGES, MOST], np.float32)
    for i, count in enumerate(OBJECTS):
        corner, size = random.uniform(0, 0.6, (count, 2)), random.uniform(0.1, 0.4, (count, 2))
        boxes[i, :count] = np.concatenate([corner, corner + size], axis=1)
        classes[i, np.arange(count), random.integers(0, 3, count)] = 1
        weights[i, :count] = 1
    features = {
        "image": random.uniform(-1, 1, [IMAGES, SIDE, SIDE, 3]).astype(np.float32),
        "true_image_shape": np.full([IMAGES, 3], [SIDE, SIDE, 3], np.int32),
    }
    return features, {
        "groundtruth_boxes": boxes,
        "groundtruth_classes": classes,
        "groundtruth_weights": weights,
        "num_groundtruth_boxes": np.array(OBJECTS, np.int32),
    }


def noise(height: int, width: int) -> Any:
    """Four of `images`' images with objects, in another size."""
    _, labels = images()
    chosen = [4, 5, 6, 8]
    random = np.random.default_rng(0)
    features = {
        "image": random.uniform(-1, 1, [len(chosen), height, width, 3]).astype(np.float32),
        "true_image_shape": np.full([len(chosen), 3], [height, width, 3], np.int32),
    }
    return features, {name: value[chosen] for name, value in labels.items()}


class Trainer:
    """A model under a strategy, put back to `start` before each run."""

    def __init__(self, strategy: Any, message: Any) -> None:
        import tensorflow as tf

        from launcher.runtime.model import build_model, build_optimizer

        tf.random.set_seed(0)
        self.message, self.strategy = message, strategy
        with strategy.scope():
            self.done = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.model = build_model(message, strategy)
            self.optimizer, _ = build_optimizer(message, self.done, self.model.trainable_variables)
        # Kept, because a trace adds one: Keras counts the training step among the variables.
        self.variables = self.model.variables
        self.start = [_sound(v) for v in self.variables]

    def run(
        self,
        name: str,
        batch: Any,
        per_replica: int,
        asked: str,
        *,
        loss_images: int | None = None,
    ) -> dict[str, Any]:
        """One step of the worker's own."""
        import tensorflow as tf

        from launcher.odapi.normalizers import normalizer_of, scale_of_sum
        from launcher.runtime.step import Requests, TrainStep

        self._reset()
        replicas = self.strategy.num_replicas_in_sync
        with self.strategy.scope():
            step = TrainStep(
                self.strategy,
                self.model,
                self.optimizer,
                self.done,
                self.message.train_config,
                IMAGES // (replicas * per_replica),
                normalizer=normalizer_of(self.message.model, asked),
                scale=scale_of_sum(loss_images, IMAGES),
            )
        dataset = tf.data.Dataset.from_tensor_slices(batch).batch(per_replica, drop_remainder=True)
        # Each process its own micro-batches, where there are several.
        data = self.strategy.distribute_datasets_from_function(
            lambda c: dataset.shard(c.num_input_pipelines, c.input_pipeline_id).repeat()
        )
        result = step(iter(data), Requests())
        assert result.images == IMAGES
        facts = np.array([result.gradient_norm, result.divisor, result.loss])
        return {name: self._gradient(), f"{name} facts": facts}

    def matches(self, *batches: Any) -> Any:
        """Of each batch, given to a replica each: the divisor that it adds."""
        import tensorflow as tf

        from launcher.odapi.normalizers import Normalizer
        from launcher.runtime.losses import Losses

        with self.strategy.scope():
            losses = Losses(
                self.model,
                self.message.train_config,
                Normalizer.MATCHES,
                micro_batches=len(batches),
                training_step=self.done,
            )

        @tf.function(autograph=False)
        def counted(batch: Any) -> Any:
            return self.strategy.run(lambda *images: losses.part(*images).count, args=batch)

        dataset = tf.data.Dataset.from_tensors(batches[0])
        for batch in batches[1:]:
            dataset = dataset.concatenate(tf.data.Dataset.from_tensors(batch))
        data = self.strategy.distribute_datasets_from_function(lambda _: dataset.repeat())
        return np.array(self.strategy.experimental_local_results(counted(next(iter(data)))))

    def od_api(self, name: str, batch: Any, size: int) -> dict[str, Any]:
        """The mean of the gradients that the OD API's own step applies to `size` images each."""
        import tensorflow as tf
        from object_detection import model_lib_v2

        @tf.function(autograph=False)
        def eager_train_step(features: Any, labels: Any) -> Any:
            losses = model_lib_v2.eager_train_step(
                self.model, features, labels, False, self.optimizer, self.done, True, None
            )
            return losses["Loss/total_loss"]

        gradients, losses = [], []
        dataset = tf.data.Dataset.from_tensor_slices(batch).batch(size, drop_remainder=True)
        for features, labels in dataset:
            self._reset()
            losses.append(float(eager_train_step(dict(features), dict(labels))))
            gradients.append(self._gradient())
        return {
            name: np.mean(gradients, axis=0, dtype=np.float64),
            f"{name} facts": np.array([0.0, 0.0, np.mean(losses)]),
        }

    def _reset(self) -> None:
        for variable, value in zip(self.variables, self.start, strict=True):
            variable.assign(value)
        for slot in self.optimizer.variables():
            slot.assign(np.zeros(slot.shape, slot.dtype.as_numpy_dtype))
        self.done.assign(0)

    def _gradient(self) -> Any:
        """What was applied: after one step the momentum is -rate x gradient, rounded once."""
        self.done.assign(0)
        rate = float(self.optimizer._decayed_lr("float32"))
        slots = [self.optimizer.get_slot(v, "momentum") for v in self.model.trainable_variables]
        return np.concatenate([s.numpy().astype(np.float64).ravel() for s in slots]) / -rate


def _sound(variable: Any) -> Any:
    """Kernels that keep the size of the activations: with the recipe's small ones all gradient is
    that of the last biases, long sums that cancel, and float32 leaves only four digits of it."""
    shape = variable.shape
    if "kernel" not in variable.name or "BoxPredictor" in variable.name:
        return variable.numpy()
    fan_in = np.prod(shape[:2]) * (1 if "depthwise" in variable.name else shape[2])
    random = np.random.default_rng(sum(map(ord, variable.name)))
    return random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
