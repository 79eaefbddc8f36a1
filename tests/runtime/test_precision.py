"""Why mixed_bfloat16 is refused: what TensorFlow's CPU kernels do to gradients in bfloat16.

When this fails because they have become exact, the refusal in spec/sections.py is due for another
look (docs/odapi.md).
"""

from typing import Any

import numpy as np
import pytest

from launcher.odapi import compat

pytestmark = pytest.mark.tensorflow

SHAPE = (8, 64, 64, 16)


def gradients(run: Any, weights: Any) -> tuple[Any, Any]:
    """Of the weights, computed in bfloat16 and in float32 from the same bfloat16 values."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    inputs, upstream = random.normal(0, 2, SHAPE), random.normal(0.1, 1, SHAPE)
    found = []
    for kind in (tf.bfloat16, tf.float32):
        x, w, up = (
            tf.cast(tf.cast(tf.constant(v, tf.float32), tf.bfloat16), kind)
            for v in (inputs, weights, upstream)
        )
        with tf.GradientTape() as tape:
            tape.watch(w)
            y = run(x, w)
        found.append(tf.cast(tape.gradient(y, w, output_gradients=up), tf.float32).numpy())
    return found[0], found[1]


def off(pair: tuple[Any, Any]) -> float:
    return float(np.linalg.norm(pair[0] - pair[1]) / np.linalg.norm(pair[1]))


def test_sums_of_bias_gradients_stand_still_in_bfloat16() -> None:
    compat.load()
    import tensorflow as tf

    random = np.random.default_rng(1)
    if not tf.config.list_physical_devices("GPU"):
        assert off(gradients(tf.nn.bias_add, random.normal(0, 1, [16]))) > 0.1

        def depthwise(x: Any, w: Any) -> Any:
            return tf.nn.depthwise_conv2d(x, w, [1, 1, 1, 1], "SAME")

        assert off(gradients(depthwise, random.normal(0, 1, [3, 3, 16, 1]))) > 0.02
    convolution = gradients(
        lambda x, w: tf.nn.conv2d(x, w, 1, "SAME"), random.normal(0, 1, [3, 3, 16, 16])
    )
    assert off(convolution) < 0.04  # the rounding of each value, 2 %: nothing is lost on the way
