"""Batch normalization whose moments are those of groups of images, on tensors.

The batch is cut into equal groups of images, one after the other, and each group is normalized as
if it were a micro-batch of its own: n micro-batches in a loop and one pass over n groups give the
same outputs, gradients and averages. All of it is computed in float32.

Batch normalization of x with the mean m and the standard deviation s has the gradient

    dx = gamma / s * (dy - mean(dy) - x' * mean(dy * x')),    x' = (x - m) / s

so it takes four means, two of the forward and two of the backward pass. `Rule` says over what
each pair is taken: the group, all replicas, or a moving average over the last groups. With
constants for m and s, both means of the backward pass are 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

AllReduce = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Average:
    """A moving average over groups, free of bias from its first one on.

    `state` [n + 1] holds n sums and the weight of them all; `momentum` is in [0, 1).
    """

    state: tf.Variable
    momentum: float

    def push(self, values: tf.Tensor) -> tf.Tensor:
        """Takes [groups, n] in; returns the average after each of them, [groups, n]."""
        groups, m = values.shape[0], self.momentum
        weighed = tf.concat([values, tf.ones([groups, 1])], axis=1)
        kept = tf.constant([[m**i] for i in range(1, groups + 1)])
        taps = tf.constant(
            [
                [(1 - m) * m ** (i - j) if j <= i else 0.0 for j in range(groups)]
                for i in range(groups)
            ]
        )
        # Not a matmul: GPUs would round its factors to TF32, and variances of them cancel.
        taken = tf.reduce_sum(taps[:, :, tf.newaxis] * weighed, axis=1)
        sums = kept * self.state.read_value() + taken
        self.state.assign(sums[-1])
        return sums[:, :-1] / sums[:, -1:]


@dataclass(frozen=True)
class Clip:
    """How far the average may be from the group's own moments (arXiv 1702.03275): the ratio of the
    standard deviations within [1/r, r], the distance of the means within d deviations. Scalars."""

    r: tf.Tensor
    d: tf.Tensor


@dataclass(frozen=True)
class Held:
    """Constant moments in place of `forward`'s and `backward`'s, once `now` is true."""

    now: tf.Tensor  # bool, a scalar
    mean: tf.Tensor  # [channels]
    variance: tf.Tensor  # [channels]


@dataclass(frozen=True)
class Rule:
    """What one layer normalizes with."""

    epsilon: float
    groups: int
    forward: Average | None = None  # None: the group's own moments
    backward: Average | None = None  # None: the group's own means of the gradient
    clip: Clip | None = None  # of `forward`; None: no limit
    held: Held | None = None  # None: never
    all_reduce: AllReduce | None = None  # the mean over the replicas; None: of this one alone
    replicas: int = 1  # that `all_reduce` takes the mean of


@dataclass(frozen=True)
class Moments:
    """Of each group, [groups, channels]: its own, and what x is really normalized with."""

    mean: tf.Tensor
    variance: tf.Tensor
    count: tf.Tensor  # values of a channel that they were taken of, a scalar
    own: tf.Tensor  # 1 / its own standard deviation
    center: tf.Tensor
    scale: tf.Tensor  # x' = (x - center) * scale
    weight: tf.Tensor | None = None  # of this replica's means; None: all replicas have equal ones


def moments_of(x: tf.Tensor, rule: Rule) -> Moments:
    """`x` is [images, ..., channels]. Moves the averages on; no gradient flows through it."""
    grouped = _grouped(tf.stop_gradient(x), rule.groups)
    mean = tf.reduce_mean(grouped, axis=1)
    variance = tf.reduce_mean(tf.math.squared_difference(grouped, mean[:, tf.newaxis]), axis=1)
    count = tf.cast(tf.shape(grouped)[1] * rule.replicas, tf.float32)
    weight = None
    if rule.all_reduce is not None:
        both = _one(mean, variance + tf.square(mean))
        if x.shape[1:-1].is_fully_defined():
            both = rule.all_reduce(both)
        else:  # images of other sizes on other replicas
            values = tf.fill([rule.groups, 1], count / rule.replicas)
            sums = rule.all_reduce(tf.concat([both * values, values], axis=1))
            both, mean_values = sums[:, :-1] / sums[:, -1:], sums[0, -1]
            count, weight = mean_values * rule.replicas, values[0, 0] / mean_values
        mean, second = _two(both)
        variance = tf.maximum(second - tf.square(mean), 0.0)
    own = tf.math.rsqrt(variance + rule.epsilon)
    if rule.forward is None:
        return Moments(mean, variance, count, own, mean, own, weight)
    # Pooled: what lies between the groups' means is part of the variance, and with two images a
    # group it can be most of it.
    first, second = _two(rule.forward.push(_one(mean, variance + tf.square(mean))))
    wide = tf.math.rsqrt(tf.maximum(second - tf.square(first), 0.0) + rule.epsilon)
    if rule.held is not None:
        still = tf.math.rsqrt(rule.held.variance + rule.epsilon)
        first = tf.where(rule.held.now, rule.held.mean, first)
        wide = tf.where(rule.held.now, still, wide)
    if rule.clip is None:
        return Moments(mean, variance, count, own, first, wide, weight)
    ratio = tf.clip_by_value(wide / own, 1 / rule.clip.r, rule.clip.r)
    shift = tf.clip_by_value((mean - first) * wide, -rule.clip.d, rule.clip.d)
    scale = own * ratio
    return Moments(mean, variance, count, own, mean - shift / scale, scale, weight)


def normalize(
    x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, moments: Moments, rule: Rule
) -> tf.Tensor:
    """gamma * x' + beta, of x's shape and type; gamma and beta are float32 [channels]."""

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def op(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> Any:
        weight = gamma * moments.scale
        y = x * weight[:, tf.newaxis] + (beta - moments.center * weight)[:, tf.newaxis]

        def gradient(dy: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            normal = (x - moments.center[:, tf.newaxis]) * moments.scale[:, tf.newaxis]
            of_dy = tf.reduce_mean(dy, axis=1)
            of_product = tf.reduce_mean(dy * normal, axis=1)
            size = tf.cast(tf.shape(x)[1], tf.float32)
            d_gamma = size * tf.reduce_sum(of_product, axis=0)
            d_beta = size * tf.reduce_sum(of_dy, axis=0)
            mean, slope = _through(of_dy, of_product, moments, rule)
            dx = (dy - mean[:, tf.newaxis] - normal * slope[:, tf.newaxis]) * weight[:, tf.newaxis]
            return dx, d_gamma, d_beta

        return y, gradient

    y = op(_grouped(x, rule.groups), gamma, beta)
    return tf.cast(tf.reshape(y, tf.shape(x)), x.dtype)


def _through(
    of_dy: tf.Tensor, of_product: tf.Tensor, moments: Moments, rule: Rule
) -> tuple[tf.Tensor, tf.Tensor]:
    """The two means of the backward pass, for dx = (dy - first - x' * second) * weight."""
    if rule.backward is not None:
        both = _one(of_dy, of_product)
        if rule.all_reduce is not None:
            both = _mean(both, moments, rule.all_reduce)
        means = rule.backward.push(both)
        return _two(means if rule.held is None else tf.where(rule.held.now, 0.0, means))
    # The gradient goes through the group's own moments, x' = x_own * ratio + shift.
    ratio = moments.scale / moments.own
    shift = (moments.mean - moments.center) * moments.scale
    of_own = (of_product - shift * of_dy) / ratio
    if rule.all_reduce is not None:
        of_dy, of_own = _two(_mean(_one(of_dy, of_own), moments, rule.all_reduce))
    slope = of_own / ratio
    return of_dy - slope * shift, slope


def _mean(values: tf.Tensor, moments: Moments, all_reduce: AllReduce) -> tf.Tensor:
    """Over all values of a channel, each replica counting by how many it has."""
    return all_reduce(values if moments.weight is None else values * moments.weight)


def _grouped(x: tf.Tensor, groups: int) -> tf.Tensor:
    """[images, ..., channels] -> float32 [groups, values of a channel, channels]."""
    return tf.reshape(tf.cast(x, tf.float32), [groups, -1, x.shape[-1]])


def _one(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    return tf.concat([first, second], axis=1)


def _two(both: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    first, second = tf.split(both, 2, axis=1)
    return first, second
