"""`moving` over the last part of the training: constants, in both passes."""

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

TOTAL_STEPS = 10
IMAGES, GROUPS, CHANNELS = 8, 4, 3


class Trained:
    """One layer of kind `moving` after `step` of TOTAL_STEPS, with statistics of its own."""

    def __init__(self, step: int) -> None:
        from launcher.odapi import compat

        compat.load()
        import tensorflow as tf

        from launcher.odapi import norm_layers

        self.module = tf.Module()
        self.layer = self.module.layer = tf.keras.layers.BatchNormalization(momentum=0.9)
        random = np.random.default_rng(3)
        self.x = tf.constant(random.normal(1.0, 2.0, [IMAGES, 4, 4, CHANNELS]), tf.float32)
        self.dy = tf.constant(random.normal(size=self.x.shape), tf.float32)
        self.layer(self.x, training=False)
        self.layer.gamma.assign([0.5, 1.0, 2.0])
        self.layer.moving_mean.assign([0.1, 0.2, 0.3])
        self.layer.moving_variance.assign([1.0, 2.0, 3.0])
        norm = norm_layers.Norm("moving", groups=GROUPS, updates=GROUPS)
        norm_layers.apply(self.module, norm, tf.Variable(step, dtype=tf.int64), TOTAL_STEPS)

    def pass_(self, training: bool) -> tuple[Any, Any]:
        """Output and gradient with respect to the input."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(self.x)
            y = self.layer(self.x, training=training)
        return y, tape.gradient(y, self.x, self.dy)

    def statistics(self) -> Any:
        return np.stack([self.layer.moving_mean.numpy(), self.layer.moving_variance.numpy()])


def test_from_then_on_a_step_computes_what_will_be_scored() -> None:
    trained = Trained(step=8)
    before = trained.statistics()
    in_training, in_inference = trained.pass_(training=True), trained.pass_(training=False)
    for ours, stored in zip(in_training, in_inference, strict=True):
        np.testing.assert_allclose(ours, stored, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(trained.statistics(), before)


def test_before_that_it_takes_moments_and_moves_the_statistics() -> None:
    trained = Trained(step=7)
    before = trained.statistics()
    in_training, in_inference = trained.pass_(training=True), trained.pass_(training=False)
    for ours, stored in zip(in_training, in_inference, strict=True):
        assert np.abs(ours - stored).max() > 0.1
    assert np.abs(trained.statistics() - before).min() > 1e-3
