"""What the norm layers of real models see and do, under several divisions of the same images.

    python -m tests.runtime.norm_runs moments|passes|gradients OUT

A process of its own: two replicas on a CPU need two logical devices before TensorFlow starts.
Writes arrays to OUT (npz); test_norm_layers.py compares them.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from launcher.odapi import compat
from tests.runtime import splits
from tests.runtime.small_pipelines import small_recipe

SIDE = 256  # the smallest that BiFPN takes
EACH = 2
"""Images of each of two replicas."""


def main(what: str, out: Path) -> None:
    compat.load()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    found = {"moments": moments, "passes": passes, "gradients": gradients}[what]()
    np.savez(out, **found)


def moments() -> dict[str, Any]:
    """Mean and variance that all layers of EfficientDet-D0 take from one forward pass: of two
    replicas, synchronised, [2, channels]; of one with all images, and of one with those of the
    first replica alone, [1, channels]."""
    import tensorflow as tf

    images = np.random.default_rng(0).uniform(-2, 2, [2 * EACH, SIDE, SIDE, 3]).astype(np.float32)
    # Noise for one replica, stripes for the other.
    images[EACH:] = np.sin(np.arange(SIDE, dtype=np.float32) / 9)[:, None] * [1.0, -2.0, 0.5]
    whole = Forward(tf.distribute.OneDeviceStrategy("/cpu:0"), synchronised=False)
    both = Forward(tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"]), synchronised=True)
    return {
        **whole.moments("whole", images),
        **whole.moments("half", np.concatenate([images[:EACH]] * 2)),
        **both.moments("synchronised", images),
    }


class Forward:
    """A model in training, the same weights under every strategy."""

    def __init__(self, strategy: Any, *, synchronised: bool) -> None:
        import tensorflow as tf

        from launcher.odapi import norm_layers
        from launcher.runtime.model import build_model

        self.strategy = strategy
        message = small_recipe("efficientdet_d0", Path("no records"), side=SIDE, batch=4)
        with strategy.scope():
            self.model = build_model(message, strategy)
            norm = norm_layers.Norm(synchronised=synchronised)
            norm_layers.apply(self.model, norm, tf.Variable(0, dtype=tf.int64), 10)
            for part in self.model.submodules:
                if isinstance(part, tf.keras.layers.Dropout):
                    part.rate = 0.0  # its masks differ from replica to replica
            for variable in self.model.trainable_variables:
                variable.assign(_values(variable))
            self.layers = norm_layers.layers_of(self.model)
            for layer in self.layers:
                layer.momentum = 0.0  # the statistics are then those of one pass
        self.step = tf.function(self._step, autograph=False)

    def _step(self, images: Any) -> None:
        import tensorflow as tf

        from launcher.runtime.model import set_training

        each = 2 * EACH // self.strategy.num_replicas_in_sync

        def replica(images: Any) -> None:
            set_training(self.model, True)
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            mine = tf.slice(images, [number * each, 0, 0, 0], [each, SIDE, SIDE, 3])
            self.model.predict(mine, tf.constant([[SIDE, SIDE, 3]] * each))

        self.strategy.run(replica, args=(images,))

    def moments(self, name: str, images: Any) -> dict[str, Any]:
        import tensorflow as tf

        self.step(tf.constant(images))
        found = {}
        for layer in self.layers:
            for what in ("mean", "variance"):
                local = self.strategy.experimental_local_results(getattr(layer, f"moving_{what}"))
                key = f"{name} {layer.moving_mean.name} {what}"
                found[key] = np.stack([v.numpy() for v in local])
        return found


def _values(variable: Any) -> Any:
    random = np.random.default_rng(sum(map(ord, variable.name)))
    shape = variable.shape
    if len(shape) < 4:
        return random.uniform(0.5, 1.5, shape).astype(np.float32)
    fan_in = np.prod(shape[:2]) * (1 if "depthwise" in variable.name else shape[-2])
    return random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


def passes() -> dict[str, Any]:
    """Gradients and statistics of 32 images, 8 a statistic: in a loop of 4, in one pass, and in a
    loop of two replicas with 4 each, whose moments are shared or not (`apart`). The activation is
    smooth: where ReLU6 bends, the last bit of a sum decides whether a gradient passes, and equal
    arithmetic then differs by up to 1e-2."""
    import tensorflow as tf

    found: dict[str, Any] = {}
    batch, message = splits.images(), splits.pipeline()
    message.model.ssd.freeze_batchnorm = False
    message.model.ssd.feature_extractor.override_base_feature_extractor_hyperparams = True
    for hyperparams in splits.hyperparams_of(message):
        hyperparams.activation = hyperparams.SWISH
    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    two = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    start = None  # the first one's weights: Keras numbers its layers on, and names seed the others'
    for kind in ("batch", "renorm", "moving"):
        for name, groups, strategy, images in (
            ("loop", 1, one, 8),
            ("pass", 4, one, 32),
            ("both", 1, two, 4),
            *([("apart", 1, two, 4)] if kind == "batch" else []),
        ):
            trainer = splits.Trainer(strategy, message)
            start = trainer.start = start or trainer.start
            averages = _change(trainer, kind, groups, synchronised=name == "both")
            found |= trainer.run(f"{kind} {name}", batch, images, "global")
            statistics = [v for v in trainer.model.variables if "moving" in v.name]
            for what, values in (("statistics", statistics), ("averages", averages)):
                flat = [v.numpy().ravel() for v in values] or [np.zeros(0)]
                found[f"{kind} {name} {what}"] = np.concatenate(flat)
    return found


def _change(trainer: Any, kind: str, groups: int, *, synchronised: bool) -> list[Any]:
    import tensorflow as tf

    from launcher.odapi import norm_layers

    step = tf.Variable(5, dtype=tf.int64)  # renormalization is half open
    norm = norm_layers.Norm(kind, groups, updates=4, synchronised=synchronised)
    with trainer.strategy.scope():
        return list(norm_layers.apply(trainer.model, norm, step, 40).averages)


def gradients() -> dict[str, Any]:
    """Of a small network in three steps, [3, weights], under each kind: of one replica with all
    images and Keras' layers where the kind is theirs (`whole`), of two with the moments of both
    (`both`), and of two that take them apart (`halves`)."""
    import tensorflow as tf

    one = tf.distribute.OneDeviceStrategy("/cpu:0")
    two = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    found: dict[str, Any] = {}
    for kind in ("batch", "renorm", "moving"):
        found[f"{kind} whole"] = _three_steps(one, kind, synchronised=False)
        found[f"{kind} both"] = _three_steps(two, kind, synchronised=True)
        found[f"{kind} halves"] = _three_steps(two, kind, synchronised=False)
        found[f"{kind} uneven whole"] = _three_uneven_steps(one, kind, synchronised=False)
        found[f"{kind} uneven both"] = _three_uneven_steps(two, kind, synchronised=True)
    return found


def _three_steps(strategy: Any, kind: str, *, synchronised: bool) -> Any:
    import tensorflow as tf

    images = tf.random.stateless_normal([3, 2 * EACH, 12, 12, 3], [1, 2])
    weights = tf.random.stateless_normal([2 * EACH, 12, 12, 4], [3, 4])  # of the outputs
    model = _network(strategy, kind, synchronised, kernel=3, shape=[12, 12, 3])

    def share(values: Any, number: Any, replicas: int) -> Any:
        each = 2 * EACH // replicas
        return values[each * number :][:each]

    return _stepped(strategy, model, images, weights, share, images.shape[1:])


def _three_uneven_steps(strategy: Any, kind: str, *, synchronised: bool) -> Any:
    """An image of 40 pixels for one replica, of 104 for the other. The kernels see one pixel each,
    so that an image of 144 is the whole of them."""
    import tensorflow as tf

    images = tf.random.stateless_normal([3, 1, 144, 1, 3], [1, 2])
    weights = tf.random.stateless_normal([1, 144, 1, 4], [3, 4])
    model = _network(strategy, kind, synchronised, kernel=1, shape=[None, 1, 3])

    def share(values: Any, number: Any, replicas: int) -> Any:
        if replicas == 1:
            return values
        begin, end = tf.where(number == 0, 0, 40), tf.where(number == 0, 40, 144)
        return values[:, begin:end]

    return _stepped(strategy, model, images, weights, share, [1, None, 1, 3])


def _network(strategy: Any, kind: str, synchronised: bool, *, kernel: int, shape: Any) -> Any:
    import tensorflow as tf

    from launcher.odapi import norm_layers

    with strategy.scope():
        layers = tf.keras.layers
        parts = [tf.keras.Input(shape)]
        for i, channels in enumerate((8, 8, 4)):
            parts.append(layers.Conv2D(channels, kernel, padding="same", name=f"conv{i}"))
            parts.append(layers.BatchNormalization(name=f"norm{i}", momentum=0.9))
        model = tf.keras.Sequential(parts)
        norm = norm_layers.Norm(kind, updates=4, synchronised=synchronised)
        norm_layers.apply(model, norm, tf.Variable(5, dtype=tf.int64), 40)
        for variable in model.trainable_variables:
            variable.assign(_values(variable))
    return model


def _stepped(
    strategy: Any, model: Any, images: Any, weights: Any, share: Any, known_shape: Any
) -> Any:
    import tensorflow as tf

    def replica(images: Any) -> Any:
        context = tf.distribute.get_replica_context()
        place = context.replica_id_in_sync_group, context.num_replicas_in_sync
        with tf.GradientTape() as tape:
            outputs = model(share(images, *place), training=True)
            loss = tf.reduce_sum(tf.nn.relu(outputs) * share(weights, *place))
        found = tape.gradient(loss, model.trainable_variables)
        vector = tf.concat([tf.reshape(g, [-1]) for g in found], 0)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, vector)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec(known_shape)])
    def step(images: Any) -> Any:
        return strategy.run(replica, args=(images,))

    local = strategy.experimental_local_results
    return np.stack([local(step(images[i]))[0].numpy() for i in range(3)])


def names_of(found: Mapping[str, Any], kind: str) -> list[str]:
    """Of the layers in what `moments` wrote."""
    return [k.split(" ", 1)[1].rsplit(" ", 1)[0] for k in found if k.startswith(f"{kind} ")][::2]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
