"""An exponential moving average of a model's weights (`train.ema_decay`). Needs TensorFlow.

    average -= (1 - d) x (average - weight),  d = min(decay, (1 + t) / (10 + t))

after the update of step t, counted from 1. As EfficientDet's authors have it (google/automl,
efficientdet: weights and the statistics of batch norm, decay 0.9998); the ramp, which lets the
first steps be forgotten, is that of tf.train.ExponentialMovingAverage with num_updates.

A checkpoint has the averages beside the weights, under `averages`, each by the place that its
variable has in the model's object graph. The key `model` stays what the OD API's tools read.
"""

import os
from collections import deque
from pathlib import Path
from typing import Any

import tensorflow as tf

from launcher.errors import ConfigError

KEY = "averages"
"""Of a checkpoint."""


class Averages:
    """The averages of a model in training. `saved` is what a checkpoint gets as `averages`."""

    def __init__(self, model: Any, decay: float) -> None:
        """Call within `strategy.scope()`, with all variables of the model made."""
        self._decay = decay
        variables = averaged(model)
        averages = {place: _average_of(v, place) for place, v in variables.items()}
        self._pairs = [(averages[place], v) for place, v in variables.items()]
        self.saved = _Values(averages)

    def start(self, strategy: tf.distribute.Strategy) -> None:
        """Begin with the model's present values."""

        def copy() -> None:
            for average, variable in self._pairs:
                average.assign(tf.cast(variable, tf.float32))

        strategy.run(copy)

    def update(self, step: tf.Tensor) -> None:
        """In the replica's context, after the optimizer's update; `step` counts that one too."""
        t = tf.cast(step, tf.float32)
        rest = 1.0 - tf.minimum(self._decay, (1.0 + t) / (10.0 + t))
        for average, variable in self._pairs:
            average.assign_sub(rest * (average - tf.cast(variable, tf.float32)))


def restore(model: Any, prefix: Path | str) -> None:
    """Read a checkpoint's averages into the variables of a model that is scored or exported.

    Restore the whole model before: what has no average keeps its value. Raises ConfigError for a
    checkpoint without averages, AssertionError for one of another model, and what TensorFlow
    raises for one that cannot be read.
    """
    if not has_averages(prefix):
        raise ConfigError(
            "has no average of the weights",
            place=os.fspath(prefix),
            remedy="Its training had no train.ema_decay: leave it out here too",
        )
    checkpoint = tf.train.Checkpoint(**{KEY: _Values(averaged(model))})
    status = checkpoint.restore(os.fspath(prefix)).expect_partial()
    status.assert_existing_objects_matched()


def has_averages(prefix: Path | str) -> bool:
    """Whether a checkpoint has some."""
    names = (name for name, _ in tf.train.list_variables(os.fspath(prefix)))
    return any(name.startswith(f"{KEY}/") for name in names)


def averaged(model: Any) -> dict[str, tf.Variable]:
    """Weights and statistics by their place in the model's object graph: the shortest path, and of
    several the first in the alphabet. Every variable of a floating type is among them."""
    places: dict[str, tf.Variable] = {}
    seen = {id(model)}
    waiting: deque[tuple[str, Any]] = deque([("", model)])
    while waiting:
        place, part = waiting.popleft()
        if isinstance(part, tf.Variable):
            if part.dtype.is_floating:
                places[place] = part
            continue
        for name, child in sorted(tf.train.TrackableView.children(part).items()):
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f"{place}/{name}" if place else name, child))
    return places


class _Values(tf.Module):  # type: ignore[misc]
    """Variables by name, as a part of a checkpoint."""

    def __init__(self, values: dict[str, tf.Variable]) -> None:
        super().__init__(name=KEY)
        self.values = values


def _average_of(variable: tf.Variable, place: str) -> tf.Variable:
    """Of the variable's shape, kept in each replica by itself: its sources are the same in all,
    but for statistics, whose mean over the replicas is saved, as for the statistics themselves."""
    differs = variable.synchronization == tf.VariableSynchronization.ON_READ
    mean, first = tf.VariableAggregation.MEAN, tf.VariableAggregation.ONLY_FIRST_REPLICA
    return tf.Variable(
        tf.zeros(variable.shape),
        trainable=False,
        name=f"average/{place}",
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=mean if differs else first,
    )
