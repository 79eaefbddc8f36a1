"""Backward passes of a whole detection model, with and without recomputation.

    python -m tests.runtime.checkpointed        two replicas with synchronised batch norm

prints, as JSON, how far gradients and moving statistics of the two are apart.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from launcher.odapi import compat
from launcher.planning.effective import set_sync_batch_norm
from tests.runtime.small_pipelines import demo_pipeline, small_recipe

NOWHERE = Path("no records are read")


def pipeline_of(recipe: str, side: int, batch: int, *, synchronised: bool = False) -> Any:
    if recipe != "demo":
        return small_recipe(recipe, NOWHERE, side=side, batch=batch)
    message = demo_pipeline(NOWHERE, batch=batch, steps=4)
    size = message.model.ssd.image_resizer.fixed_shape_resizer
    size.height = size.width = side
    set_sync_batch_norm(message.model, synchronised)
    return message


def images(side: int, batch: int) -> Any:
    import tensorflow as tf

    return tf.random.stateless_uniform([batch, side, side, 3], [1, 2], maxval=255.0)


def built(message: Any, strategy: Any, seed: int = 0) -> Any:
    import tensorflow as tf

    from launcher.runtime.model import build_model

    tf.keras.utils.set_random_seed(seed)
    with strategy.scope():
        return build_model(message, strategy)


def backward_pass(model: Any, strategy: Any, *, passes: int = 1) -> Callable[..., Any]:
    """A traced function of images: the gradients of a loss that all outputs have a part in, as one
    vector, summed over `passes` passes in a tf.while_loop as the worker's step has it."""
    import tensorflow as tf

    from launcher.runtime.model import set_training

    variables = list(model.trainable_variables)
    size = sum(v.shape.num_elements() for v in variables)

    def gradients(batch: Any) -> Any:
        set_training(model, True)
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(predictions(model, batch))
            floating = [t for t in outputs if tf.is_tensor(t) and t.dtype.is_floating]
            loss = tf.add_n([tf.reduce_mean(tf.square(tf.cast(t, tf.float32))) for t in floating])
        found = tape.gradient(loss, variables, unconnected_gradients="zero")
        return tf.concat([tf.reshape(tf.cast(g, tf.float32), [-1]) for g in found], 0)

    def replica(batch: Any) -> Any:
        context = tf.distribute.get_replica_context()
        batch *= 1.0 - 0.5 * tf.cast(context.replica_id_in_sync_group, tf.float32)
        if passes == 1:
            return gradients(batch)
        return tf.while_loop(
            lambda i, _: i < passes,
            lambda i, sums: (i + 1, sums + gradients(batch / (1.0 + tf.cast(i, tf.float32)))),
            [tf.constant(0), tf.zeros([size])],
            parallel_iterations=1,
        )[1]

    @tf.function(autograph=False)
    def step(batch: Any) -> Any:
        return strategy.run(replica, args=(batch,))

    return step


def predictions(model: Any, batch: Any) -> dict[str, Any]:
    """Of a Faster R-CNN the first stage's: the second looks at places that it draws."""
    import tensorflow as tf

    count = batch.shape[0]
    boxes = tf.constant([[0.1, 0.1, 0.6, 0.6], [0.3, 0.4, 0.9, 0.8]])
    model.provide_groundtruth([boxes] * count, [tf.one_hot([0, 2], model.num_classes)] * count)
    found: dict[str, Any] = model.predict(*model.preprocess(batch))
    first = {name: value for name, value in found.items() if name.startswith("rpn_")}
    return first or found


def statistics(model: Any) -> np.ndarray:
    values = [v.numpy().ravel() for v in model.variables if "moving_" in v.name]
    return np.concatenate(values or [np.ones(1)])


def copy(source: Any, target: Any) -> None:
    for a, b in zip(target.variables, source.variables, strict=True):
        a.assign(b)


def apart(a: Any, b: Any) -> float:
    """The largest difference, relative to the largest value of the whole vector."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def compared(message: Any, strategy: Any, batch: Any, *, passes: int = 1) -> dict[str, Any]:
    """One step of a model and of its copy that recomputes."""
    from launcher.odapi import recompute

    plain, other = built(message, strategy, 0), built(message, strategy, 1)
    copy(plain, other)
    names = [v.name for v in other.variables]
    start = statistics(plain)
    applied = recompute.apply(other)
    ours, peer = (backward_pass(model, strategy, passes=passes) for model in (other, plain))
    local = strategy.experimental_local_results
    gradients = [
        (a.numpy(), b.numpy()) for a, b in zip(local(ours(batch)), local(peer(batch)), strict=True)
    ]
    return {
        "applied": str(applied),
        "gradients": max(apart(a, b) for a, b in gradients),
        "statistics": apart(statistics(other), statistics(plain)),
        "moved": apart(statistics(plain), start),
        "same_names": names == [v.name for v in other.variables],
        "ops": [count_of_convolutions(step, batch) for step in (ours, peer)],
    }


def count_of_convolutions(step: Any, batch: Any) -> int:
    """Forward convolutions of the traced step: more of them where it computes again."""
    graph = step.get_concrete_function(batch).graph.as_graph_def()
    nodes = [*graph.node, *(n for f in graph.library.function for n in f.node_def)]
    return sum(n.op in ("Conv2D", "DepthwiseConv2dNative") for n in nodes)


def two_replicas() -> None:
    compat.load()
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["/cpu:0", "/cpu:1"])
    message = pipeline_of("demo", 64, 4, synchronised=True)
    print(json.dumps(compared(message, strategy, images(64, 4))))


if __name__ == "__main__":
    two_replicas()
