"""One optimizer step: micro-batches accumulated in the replica, one all-reduce, one update.

The losses, the groundtruth handling and the optimizer are the OD API's. What differs from its
`eager_train_step`: micro-batches, the divisor of their losses (losses.py), clipping by the global
norm after the all-reduce (the OD API clips each replica's part, so its threshold loosens with the
replicas), exactly one step a call.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from launcher.odapi.averages import Averages
from launcher.odapi.normalizers import Normalizer
from launcher.odapi.protos import Message
from launcher.runtime.losses import REGULARIZATION, TOTAL, Losses

_NUMBERS = 32
"""Room for the counts and losses of a step beside the gradients; an SSD has 5 of them, a CenterNet
with one kind of keypoints at most 14."""
_A_KEYPOINT_TASK = 4
"""Losses of each of CenterNet's keypoint_estimation_task: heatmap, offset, regression, depth."""
_COUNT = 2
"""Where the divisor is among them: after the micro-batches and the images."""


@dataclass(frozen=True)
class Requests:
    """What this process asks of the whole group in the coming step."""

    save: bool = False
    stop: bool = False


@dataclass(frozen=True)
class StepResult:
    """What a step really did, the same on every worker."""

    step: int  # steps done, this one included
    images: int  # in all micro-batches of all replicas
    micro_batches: int  # of all replicas
    learning_rate: float  # as the optimizer applied it
    losses: dict[str, float]  # of the global batch; "Loss/total_loss" is their sum
    gradient_norm: float  # of the global batch, before clipping
    save: bool  # some worker asked for a checkpoint
    stop: bool  # some worker asked to stop after it
    divisor: float = 1.0  # of the summed losses: the matches of the global batch, at least 1
    input_seconds: float = 0.0  # this process waited for its micro-batches, all of them together
    own_seconds: float = 0.0  # from the step's begin until this process's gradients were ready

    @property
    def loss(self) -> float:
        return self.losses[TOTAL]


class TrainStep:
    """Call it with the dataset's iterator and this worker's requests; one trace for all calls."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: Any,
        optimizer: Any,
        global_step: tf.Variable,
        train_config: Message,
        accumulation_steps: int,
        *,
        normalizer: Normalizer = Normalizer.MICRO_BATCH,
        scale: float = 1.0,
        variables: Sequence[tf.Variable] | None = None,
        averages: Averages | None = None,
    ) -> None:
        """Call within `strategy.scope()`, with all variables of model and optimizer made.

        `scale` is that of a loss without divisor (Normalizer.NOTHING).
        `variables` are trained, those that the optimizer was built for; None: all trainable ones.
        `averages` follow the weights after each update; None: there are none.
        """
        self._strategy = strategy
        self._optimizer = optimizer
        self._global_step = global_step
        self._averages = averages
        self._config = train_config
        self._accumulation = accumulation_steps
        self._replicas = strategy.num_replicas_in_sync
        self._variables = list(model.trainable_variables if variables is None else variables)
        self._sizes = [v.shape.num_elements() for v in self._variables]
        self._losses = Losses(
            model,
            train_config,
            normalizer,
            micro_batches=accumulation_steps * self._replicas,
            training_step=global_step,
            scale=scale,
        )
        tasks = len(getattr(model, "_kp_params_dict", None) or ())
        self._room = _NUMBERS + _A_KEYPOINT_TASK * tasks
        self._terms: list[str] = []  # the names of the losses, known once they are traced
        if accumulation_steps > 1:
            self._sums = _local_variable(sum(self._sizes) + self._room, "micro_batch_sums")
        # The OD API's code needs no AutoGraph, and converting all of it costs most of a start.
        self._step: Callable[..., Any] = tf.function(
            self._single if accumulation_steps == 1 else self._accumulated, autograph=False
        )

    def __call__(self, iterator: Any, requests: Requests) -> StepResult:
        asked = tf.constant([float(requests.save), float(requests.stop)])
        (facts, done), waited = self._step(iterator, asked)
        out = self._strategy.experimental_local_results(facts)[0].numpy()
        step = self._strategy.experimental_local_results(done)[0].numpy()
        rate, norm, divisor, total, regularization, own, _, *sums = out.tolist()
        micro_batches, images, _, *terms, save, stop = sums
        losses = dict(zip(self._terms, terms, strict=False))  # the rest is padding
        if self._config.add_regularization_loss:
            losses[REGULARIZATION] = regularization
        return StepResult(
            step=int(step),
            images=round(images),
            micro_batches=round(micro_batches),
            learning_rate=rate,
            losses=losses | {TOTAL: total},
            gradient_norm=norm,
            save=save > 0.5,
            stop=stop > 0.5,
            divisor=divisor,
            input_seconds=float(waited),
            own_seconds=own,
        )

    @property
    def traces(self) -> int:
        """How often the step was traced: once, however many steps were taken."""
        return int(self._step.experimental_get_tracing_count())  # type: ignore[attr-defined]

    def _single(self, iterator: Any, asked: tf.Tensor) -> Any:
        def replica(batch: Any, asked: tf.Tensor, begun: tf.Tensor) -> Any:
            return self._update(self._micro_batch(*batch), asked, begun)

        begun = _now()
        batch, waited = _next(iterator)
        return self._strategy.run(replica, args=(batch, asked, begun)), waited

    def _accumulated(self, iterator: Any, asked: tf.Tensor) -> Any:
        def accumulate(batch: Any) -> None:
            self._sums.assign_add(self._micro_batch(*batch))

        def update(asked: tf.Tensor, begun: tf.Tensor) -> Any:
            sums = self._sums.read_value()
            self._sums.assign(tf.zeros_like(sums))
            return self._update(sums, asked, begun)

        def one_more(done: tf.Tensor, waited: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            batch, seconds = _next(iterator)
            self._strategy.run(accumulate, args=(batch,))
            return done + 1, waited + seconds

        begun = _now()
        _, waited = tf.while_loop(
            lambda done, waited: done < self._accumulation,
            one_more,
            [tf.constant(0), tf.zeros([], tf.float64)],
            parallel_iterations=1,
        )
        return self._strategy.run(update, args=(asked, begun)), waited

    def _micro_batch(
        self, features: dict[str, tf.Tensor], labels: dict[str, tf.Tensor]
    ) -> tf.Tensor:
        """What this micro-batch adds to the global batch, as one vector [parameters + room]:
        gradients, 1 micro-batch, its images, its part of the divisor, its losses."""
        with tf.GradientTape() as tape:
            part = self._losses.part(features, labels)
        gradients = self._gradients(tape, part.total)
        self._terms = sorted(part.terms)
        images = tf.cast(tf.shape(features["image"])[0], tf.float32)
        numbers = [tf.ones([]), images, part.count, *(part.terms[name] for name in self._terms)]
        return tf.concat(
            [gradients, tf.stack(numbers), tf.zeros([self._room - len(numbers)])], axis=0
        )

    def _gradients(self, tape: tf.GradientTape, total: tf.Tensor) -> tf.Tensor:
        """Of all variables, as one float32 vector; 0 where `total` does not depend on one."""
        gradients = tape.gradient(
            total, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return tf.concat([tf.reshape(tf.cast(g, tf.float32), [-1]) for g in gradients], axis=0)

    def _update(
        self, sums: tf.Tensor, asked: tf.Tensor, begun: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """All-reduce once, divide, clip, apply. Returns what `__call__` reads, as one vector, and
        the steps done: above 2^24 float32, which the vector is of, has not all of them.

        `begun` is the time at which the step began, as `_now` tells it.
        """
        packed = tf.concat([sums, asked], axis=0)
        first = packed[0]  # here, beside the others: inside, all of them might be copied
        with tf.device("/cpu:0"):
            # Its copy to the host waits for the kernels before it. What comes of it is returned,
            # or the graph's optimizer would leave the copy out.
            ready = tf.cast(tf.math.is_finite(first, "gradients_ready"), tf.float32)
            own = tf.cast(_now(ready) - begun, tf.float32)
        if self._replicas > 1:
            packed = tf.distribute.get_replica_context().all_reduce(
                tf.distribute.ReduceOp.SUM, packed
            )
        gradients, numbers = packed[: sum(self._sizes)], packed[sum(self._sizes) :]
        divisor = tf.maximum(numbers[_COUNT], 1.0)
        terms = numbers[_COUNT + 1 : -asked.shape[0]] / divisor
        with tf.GradientTape() as tape:
            regularization = self._losses.regularization()
        gradients = gradients / divisor + self._gradients(tape, regularization)
        norm = tf.norm(gradients)
        threshold = self._config.gradient_clipping_by_norm
        if threshold > 0:
            gradients *= threshold / tf.maximum(norm, threshold)
        pieces = [
            tf.reshape(piece, v.shape)
            for piece, v in zip(tf.split(gradients, self._sizes), self._variables, strict=True)
        ]
        # Read from the optimizer before it moves on: the very value that this update uses.
        rate = tf.identity(self._optimizer._decayed_lr(tf.float32))
        self._optimizer.apply_gradients(
            zip(pieces, self._variables, strict=True), experimental_aggregate_gradients=False
        )
        self._global_step.assign_add(1)
        if self._averages is not None:
            self._averages.update(self._global_step.read_value())
        total = tf.reduce_sum(terms) + regularization
        facts = tf.stack([rate, norm, divisor, total, regularization, own, ready])
        counts, wishes = numbers[: _COUNT + 1], numbers[-asked.shape[0] :]
        packed = tf.concat([facts, counts, terms, wishes], axis=0)
        return packed, self._global_step.read_value()


def _next(iterator: Any) -> tuple[Any, tf.Tensor]:
    """The next micro-batch, and how many seconds (float64) it was waited for."""
    asked = _now()
    with tf.control_dependencies([asked]):
        batch = next(iterator)
    return batch, _now(*tf.nest.flatten(batch, expand_composites=True)) - asked


def _now(*after: tf.Tensor) -> tf.Tensor:
    """Seconds since 1970 (float64), once all of `after` are there. (A tensor of a GPU is, as soon
    as its kernel is queued.)"""
    with tf.device("/cpu:0"), tf.control_dependencies(after):
        return tf.timestamp()


def _local_variable(size: int, name: str) -> tf.Variable:
    """Each replica's own vector of zeros, kept out of checkpoints."""
    return tf.Variable(
        tf.zeros([size]),
        trainable=False,
        name=name,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
    )
