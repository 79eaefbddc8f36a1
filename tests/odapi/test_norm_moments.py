"""The arithmetic of normalization, against the textbook form and TensorFlow's own gradient."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tensorflow

CHANNELS, EPSILON = 5, 1e-3


@pytest.fixture(scope="module")
def nm() -> Any:
    from launcher.odapi import compat

    compat.load()
    from launcher.odapi import norm_moments

    return norm_moments


@pytest.fixture(scope="module")
def data() -> dict[str, Any]:
    """8 images of 3 x 3, whose means differ much from image to image."""
    import tensorflow as tf

    random = np.random.default_rng(7)
    images = random.normal(size=[8, 3, 3, CHANNELS]) + random.normal(size=[8, 1, 1, CHANNELS]) * 2
    arrays = {
        "x": images,
        "dy": random.normal(size=images.shape),
        "gamma": random.normal(size=[CHANNELS]),
        "beta": random.normal(size=[CHANNELS]),
    }
    return {name: tf.constant(array, tf.float32) for name, array in arrays.items()}


def average(nm: Any, momentum: float) -> Any:
    import tensorflow as tf

    return nm.Average(tf.Variable(tf.zeros([2 * CHANNELS + 1])), momentum)


def textbook(data: dict[str, Any], groups: int) -> Callable[[Any, Any, Any], Any]:
    """Batch normalization of each group, differentiated by TensorFlow."""
    import tensorflow as tf

    def normal(x: Any, gamma: Any, beta: Any) -> Any:
        parts = []
        for part in tf.split(x, groups):
            mean, variance = tf.nn.moments(part, [0, 1, 2])
            parts.append(tf.nn.batch_normalization(part, mean, variance, beta, gamma, EPSILON))
        return tf.concat(parts, 0)

    return normal


def ours(nm: Any, rule: Any) -> Callable[[Any, Any, Any], Any]:
    def normal(x: Any, gamma: Any, beta: Any) -> Any:
        return nm.normalize(x, gamma, beta, nm.moments_of(x, rule), rule)

    return normal


def values(data: dict[str, Any], normal: Callable[[Any, Any, Any], Any]) -> list[Any]:
    """The outputs and the gradients of x, gamma and beta."""
    import tensorflow as tf

    inputs = [data["x"], data["gamma"], data["beta"]]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = normal(*inputs)
        total = tf.reduce_sum(y * data["dy"])
    return [y, *tape.gradient(total, inputs)]


def assert_same(first: list[Any], second: list[Any], tolerance: float = 2e-5) -> None:
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_groups_of_their_own_are_batch_normalization(
    nm: Any, data: dict[str, Any], groups: int
) -> None:
    rule = nm.Rule(EPSILON, groups)
    assert_same(values(data, ours(nm, rule)), values(data, textbook(data, groups)))


def test_an_average_of_one_group_is_batch_normalization(nm: Any, data: dict[str, Any]) -> None:
    """With one update in a step the average over the last step is that update."""
    rule = nm.Rule(EPSILON, 1, average(nm, 0.0), average(nm, 0.0))
    for _ in range(2):
        assert_same(values(data, ours(nm, rule)), values(data, textbook(data, 1)))


@pytest.mark.parametrize("backward", [True, False])
def test_one_pass_over_groups_equals_a_loop(nm: Any, data: dict[str, Any], backward: bool) -> None:
    import tensorflow as tf

    def pushed(rule: Any, pieces: int) -> list[Any]:
        found: list[Any] = []
        for _ in range(2):
            parts = []
            for i in range(pieces):
                part = {
                    name: tf.split(value, pieces)[i] if name in ("x", "dy") else value
                    for name, value in data.items()
                }
                parts.append(values(part, ours(nm, replace(rule, groups=rule.groups // pieces))))
            y, dx, d_gamma, d_beta = zip(*parts, strict=True)
            found += [tf.concat(y, 0), tf.concat(dx, 0), tf.add_n(d_gamma), tf.add_n(d_beta)]
        return [*found, rule.forward.state.read_value()]

    def rule() -> Any:
        return nm.Rule(EPSILON, 4, average(nm, 0.75), average(nm, 0.75) if backward else None)

    assert_same(pushed(rule(), 4), pushed(rule(), 1))


def test_averages_are_pooled(nm: Any, data: dict[str, Any]) -> None:
    """Over images that differ in their means, the variance of all, not the mean of variances."""
    import tensorflow as tf

    rule = nm.Rule(EPSILON, 8, average(nm, 1 - 1e-6))
    moments = nm.moments_of(data["x"], rule)
    mean, variance = tf.nn.moments(data["x"], [0, 1, 2])
    np.testing.assert_allclose(moments.center[-1], mean, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(moments.scale[-1] ** -2 - EPSILON, variance, rtol=2e-3)
    assert np.all(variance.numpy() > 1.2 * np.mean(moments.variance, axis=0))


def test_clipping_is_renormalization(nm: Any, data: dict[str, Any]) -> None:
    """r and d as in the paper, without a gradient of their own."""
    import tensorflow as tf

    groups = 4
    state = average(nm, 0.9)
    nm.moments_of(data["x"] * 1.3 + 0.7, nm.Rule(EPSILON, groups, state))
    before = state.state.numpy()
    first, second = tf.split(state.push(_pairs(nm, data["x"], groups)), 2, axis=1)
    wide = tf.sqrt(second - first**2 + EPSILON)

    def paper(x: Any, gamma: Any, beta: Any) -> Any:
        parts = []
        for i, part in enumerate(tf.split(x, groups)):
            mean, variance = tf.nn.moments(part, [0, 1, 2])
            own = tf.sqrt(variance + EPSILON)
            r = tf.stop_gradient(tf.clip_by_value(own / wide[i], 1 / 1.1, 1.1))
            d = tf.stop_gradient(tf.clip_by_value((mean - first[i]) / wide[i], -0.3, 0.3))
            parts.append(((part - mean) / own * r + d) * gamma + beta)
        return tf.concat(parts, 0)

    state.state.assign(before)
    clip = nm.Clip(tf.constant(1.1), tf.constant(0.3))
    rule = nm.Rule(EPSILON, groups, forward=state, clip=clip)
    assert_same(values(data, ours(nm, rule)), values(data, paper))


def _pairs(nm: Any, x: Any, groups: int) -> Any:
    import tensorflow as tf

    own = nm.moments_of(x, nm.Rule(EPSILON, groups))
    return tf.concat([own.mean, own.variance + own.mean**2], axis=1)


def test_bfloat16_is_normalized_in_float32(nm: Any, data: dict[str, Any]) -> None:
    import tensorflow as tf

    # 1000 + small: a mean and a variance in bfloat16 would lose the small part.
    x = tf.cast(data["x"] * 8 + 1000, tf.bfloat16)
    y = ours(nm, nm.Rule(EPSILON, 1))(x, tf.ones([CHANNELS]), tf.zeros([CHANNELS]))
    mean, variance = tf.nn.moments(tf.cast(x, tf.float64), [0, 1, 2])
    assert y.dtype == tf.bfloat16
    wanted = (tf.cast(x, tf.float64) - mean) / tf.sqrt(variance + EPSILON)
    np.testing.assert_allclose(tf.cast(y, tf.float64), wanted, atol=0.02)


def test_averages_are_taken_without_a_product_of_matrices(nm: Any) -> None:
    """GPUs round its factors to 11 bits, and `second - first**2` would be that noise."""
    import tensorflow as tf

    from tests.runtime.graphs import products

    rule = average(nm, 0.75)
    push = tf.function(rule.push, autograph=False)
    values = tf.constant(np.random.default_rng(3).normal(size=[8, 2 * CHANNELS]), tf.float32)
    assert products(push.get_concrete_function(values)) == set()
    sums = weight = 0.0
    for pushed, value in zip(push(values), values.numpy().astype(np.float64), strict=True):
        sums, weight = 0.75 * sums + 0.25 * value, 0.75 * weight + 0.25
        np.testing.assert_allclose(pushed, sums / weight, rtol=1e-5, atol=1e-6)
