"""The normalization layers of a built detection model, made another kind in place.

A layer keeps its variables (gamma, beta, moving_mean, moving_variance) and their places in a
checkpoint, so that published weights are restored as before; only what it computes changes.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tf_keras.src.layers.normalization.batch_normalization import BatchNormalizationBase

from launcher.odapi import recompute
from launcher.odapi.norm_moments import Average, Clip, Held, Moments, Rule, moments_of, normalize
from launcher.worker_config import WorkerConfig

GROUP_CHANNELS = 16
"""Channels of a group in group normalization, where they divide the layer's (arXiv 1803.08494,
table 3: among the best, whatever the layer's width)."""

_HELD_FROM = 0.8
"""Share of the training after which `moving` keeps the moments of inference as they are and
normalizes with them: the weights, which move little by then, are fitted to what will be scored.
Found by trial (docs/recipes.md)."""

_RAMP = 0.25
_LARGEST_R, _LARGEST_D = 3.0, 5.0
"""Batch renormalization as published (arXiv 1702.03275): it begins as batch normalization, and over
the first part of the training the limits of its correction open to r 3 and d 5."""


@dataclass(frozen=True)
class Norm:
    """What the norm layers of one replica are to do.

    `groups`: sets of moments in one micro-batch. `updates`: in one optimizer step, that is groups
    x accumulation steps.
    """

    kind: str = "batch"  # batch | renorm | moving | group | frozen
    groups: int = 1
    updates: int = 1
    synchronised: bool = False


class NormState(tf.Module):  # type: ignore[misc]
    """The moving averages that training needs beside the model's variables."""

    def __init__(self) -> None:
        super().__init__()
        self.averages: list[tf.Variable] = []


def of_worker(config: WorkerConfig) -> Norm:
    """What the plan asks of a worker's layers."""
    groups = config.per_replica_batch // (config.statistics_images or config.per_replica_batch)
    return Norm(
        kind=config.norm,
        groups=groups,
        updates=groups * config.accumulation_steps,
        synchronised=config.sync_batch_norm,
    )


def layers_of(model: Any) -> list[Any]:
    """All batch-normalization layers, each once, in the order of their names.

    The OD API's own are Keras' version 1 of the layer, backbones' are version 2.
    """
    parts = {id(p): p for p in model.submodules}.values()
    layers = [p for p in parts if isinstance(p, BatchNormalizationBase)]
    return sorted(layers, key=lambda layer: str(layer.moving_mean.name))


def apply(model: Any, norm: Norm, step: tf.Variable, total_steps: int) -> NormState:
    """Change all norm layers of `model`, whose variables are made. Call in `strategy.scope()`, and
    save what it returns with the model."""
    state = NormState()
    share = _share_of_training(step, total_steps)
    for layer in layers_of(model):
        # One optimizer step is one update in the recipe: n updates a step have to forget as much.
        layer.momentum = layer.momentum ** (1 / norm.updates)
        if norm.kind == "group":
            _become(layer, GroupNorm)
        elif norm.kind == "frozen":
            _become(layer, FrozenNorm)
        elif norm.kind != "batch" or norm.groups > 1 or norm.synchronised:
            pooling = _Pooling(layer, norm, share)
            object.__setattr__(layer, "pooling", pooling)  # unseen by Keras and by checkpoints
            state.averages.extend(pooling.states)
            _become(layer, PooledNorm)
    return state


def _become(layer: Any, kind: type) -> None:
    before = type(layer)
    layer.__class__ = type(f"{kind.__name__}Of{before.__name__}", (kind, before), {})


def for_inference(model: Any, kind: str) -> None:
    """All kinds but one normalize with the stored statistics, as the layers do by themselves."""
    if kind == "group":
        for layer in layers_of(model):
            _become(layer, GroupNorm)


@contextmanager
def own_moments(model: Any, groups: int) -> Iterator[None]:
    """What is traced within it normalizes with the moments of the `groups` parts of its own batch,
    in a model that is built for inference; no variable moves."""
    before = [(layer, layer.__class__) for layer in layers_of(model)]
    for layer, _ in before:
        object.__setattr__(layer, "moment_groups", groups)
        _become(layer, OwnMoments)
    try:
        yield
    finally:
        for layer, kind in before:
            layer.__class__ = kind


def describe(model: Any, norm: Norm) -> str:
    """One line for the log."""
    over = " and all replicas" if norm.synchronised else ""
    moments = {
        "batch": f"moments of {norm.groups} group(s) of a micro-batch{over}",
        "renorm": f"batch renormalization with the moments of the last step{over}",
        "moving": f"moments and gradient means of the last step{over}, held from "
        f"{_HELD_FROM:.0%} of the training on",
        "group": f"groups of up to {GROUP_CHANNELS} channels of each image",
        "frozen": "the statistics of the starting weights",
    }[norm.kind]
    return f"{len(layers_of(model))} normalization layers: {norm.kind}, {moments}"


class FrozenNorm:
    """Normalizes with the statistics that it has, also in training."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        return super().call(inputs, training=False)  # type: ignore[misc]


class GroupNorm:
    """Group normalization of each image by itself, in training and in inference."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        layer: Any = self
        channels = inputs.shape[-1]
        x = tf.cast(inputs, tf.float32)
        shape = tf.shape(x)
        parts = tf.reshape(
            x, [shape[0], -1, channels // group_size(channels), group_size(channels)]
        )
        mean, variance = tf.nn.moments(parts, axes=[1, 3], keepdims=True)
        parts = (parts - mean) * tf.math.rsqrt(variance + layer.epsilon)
        gamma, beta = _scale_and_shift(layer)
        return tf.cast(tf.reshape(parts, shape) * gamma + beta, inputs.dtype)


def group_size(channels: int) -> int:
    """The largest number of channels up to GROUP_CHANNELS that divides them."""
    return next(n for n in range(GROUP_CHANNELS, 0, -1) if channels % n == 0)


class OwnMoments:
    """Batch normalization with the moments of its input, which moves no average."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        layer: Any = self
        rule = Rule(epsilon=layer.epsilon, groups=layer.moment_groups)
        return normalize(inputs, *_scale_and_shift(layer), moments_of(inputs, rule), rule)


class PooledNorm:
    """Batch normalization by `norm_moments`; in inference the layer's own."""

    def call(self, inputs: Any, training: Any = None) -> Any:
        layer: Any = self
        if getattr(layer, "_training", None) is False or not layer._get_training_value(training):
            return super().call(inputs, training=False)  # type: ignore[misc]
        return layer.pooling(layer, inputs)


class _Pooling:
    """One layer's moving averages and rule."""

    def __init__(self, layer: Any, norm: Norm, share: Callable[[], tf.Tensor]) -> None:
        self._norm = norm
        self._share = share
        self.states: list[tf.Variable] = []
        channels = layer.moving_mean.shape[0]
        self._forward = self._average(channels) if norm.kind in ("renorm", "moving") else None
        self._backward = self._average(channels) if norm.kind == "moving" else None
        # The recomputation of gradient checkpointing normalizes with the first pass's moments.
        self._first_pass = threading.local()

    def __call__(self, layer: Any, x: Any) -> Any:
        rule = self._rule(layer)
        if recompute.in_recomputation():
            moments = self._first_pass.moments
        else:
            moments = self._first_pass.moments = moments_of(x, rule)
            self._update_inference(layer, moments, rule.held)
        return normalize(x, *_scale_and_shift(layer), moments, rule)

    def _rule(self, layer: Any) -> Rule:
        together = self._norm.synchronised
        return Rule(
            epsilon=layer.epsilon,
            groups=self._norm.groups,
            forward=self._forward,
            backward=self._backward,
            clip=_clip(self._share()) if self._norm.kind == "renorm" else None,
            held=self._held(layer) if self._norm.kind == "moving" else None,
            all_reduce=_mean_of_replicas if together else None,
            replicas=tf.distribute.get_strategy().num_replicas_in_sync if together else 1,
        )

    def _held(self, layer: Any) -> Held:
        return Held(
            now=self._share() >= _HELD_FROM,
            mean=layer.moving_mean.read_value(),
            variance=layer.moving_variance.read_value(),
        )

    def _average(self, channels: int) -> Average:
        """Over one optimizer step: with one update in a step it is that update alone."""
        state = tf.Variable(
            tf.zeros([2 * channels + 1]),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.MEAN,
        )
        self.states.append(state)
        return Average(state, 1 - 1 / self._norm.updates)

    def _update_inference(self, layer: Any, moments: Moments, held: Held | None) -> None:
        """moving_mean and moving_variance, as each group in turn moves them."""
        m, groups = layer.momentum, self._norm.groups
        taps = tf.constant([[(1 - m) * m ** (groups - 1 - i)] for i in range(groups)])
        mean, variance = layer.moving_mean.read_value(), layer.moving_variance.read_value()
        first = m**groups * mean + tf.reduce_sum(taps * moments.mean, axis=0)
        if self._forward is None:
            # Without the bias of few values, as Keras' fused layers have it.
            unbiased = moments.count / tf.maximum(moments.count - 1, 1.0) if layer.fused else 1.0
            second = m**groups * variance + tf.reduce_sum(
                taps * moments.variance * unbiased, axis=0
            )
        else:
            # Pooled as the averages are: the variance of all images in the window.
            squares = moments.variance + tf.square(moments.mean)
            second = m**groups * (variance + tf.square(mean)) + tf.reduce_sum(
                taps * squares, axis=0
            )
            second = tf.maximum(second - tf.square(first), 0.0)
        if held is not None:
            first = tf.where(held.now, mean, first)
            second = tf.where(held.now, variance, second)
        layer.moving_mean.assign(first)
        layer.moving_variance.assign(second)


def _share_of_training(step: tf.Variable, total_steps: int) -> Callable[[], tf.Tensor]:
    """How much of the training is done, 0 to 1, at the moment of the call."""
    return lambda: tf.cast(step.read_value(), tf.float32) / total_steps


def _clip(share: tf.Tensor) -> Clip:
    ramp = tf.minimum(share / _RAMP, 1.0)
    return Clip(1 + (_LARGEST_R - 1) * ramp, _LARGEST_D * ramp)


def _scale_and_shift(layer: Any) -> tuple[tf.Tensor, tf.Tensor]:
    channels = layer.moving_mean.shape
    gamma = layer.gamma if layer.scale else tf.ones(channels)
    beta = layer.beta if layer.center else tf.zeros(channels)
    return tf.cast(gamma, tf.float32), tf.cast(beta, tf.float32)


def _mean_of_replicas(values: tf.Tensor) -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, values)
    return total / tf.cast(context.num_replicas_in_sync, tf.float32)
