"""Group normalization in the place of a batch-norm layer, against tf_keras' own."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow


def outputs(layer: Any, x: Any, dy: Any) -> list[Any]:
    """Output, and gradients with respect to input, gamma and beta."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    return [y, *tape.gradient(y, [x, layer.gamma, layer.beta], output_gradients=dy)]


@pytest.mark.parametrize(("channels", "size"), [(32, 16), (24, 12), (7, 7), (34, 2)])
def test_outputs_and_gradients_are_those_of_keras(channels: int, size: int) -> None:
    import tensorflow as tf

    from launcher.odapi import norm_layers

    random = np.random.default_rng(4)
    x, dy = (tf.constant(random.normal(1, 2, [3, 5, 4, channels]), tf.float32) for _ in range(2))
    module = tf.Module()
    ours = module.layer = tf.keras.layers.BatchNormalization(epsilon=1e-3)
    ours(x, training=False)
    norm = norm_layers.Norm("group")
    norm_layers.apply(module, norm, tf.Variable(0, dtype=tf.int64), 10)
    assert norm_layers.group_size(channels) == size
    keras = tf.keras.layers.GroupNormalization(channels // size, epsilon=1e-3)
    keras.build(x.shape)
    for name in ("gamma", "beta"):
        values = random.normal(1, 0.5, channels)
        getattr(ours, name).assign(values)
        getattr(keras, name).assign(values)
    for ours_is, theirs in zip(outputs(ours, x, dy), outputs(keras, x, dy), strict=True):
        np.testing.assert_allclose(ours_is, theirs, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours(x, training=True), ours(x, training=False))
