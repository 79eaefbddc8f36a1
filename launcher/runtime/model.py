"""The OD API's detection model with all of its variables made, and its optimizer."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from object_detection.builders import model_builder, optimizer_builder
from object_detection.utils import config_util

from launcher.errors import ConfigError
from launcher.odapi import exact_rows
from launcher.odapi.protos import Message

_SIDE_OF_FREE_SIZES = 640  # resizers that keep the aspect ratio have no size of their own


def build_model(pipeline: Message, strategy: tf.distribute.Strategy) -> Any:
    """A DetectionModel in training mode, its variables built by one pass over a blank image.

    Call within `strategy.scope()`. Raises ConfigError for a model that the OD API cannot build.
    """
    try:
        model = model_builder.build(pipeline.model, is_training=True)
    except (ValueError, KeyError, NotImplementedError) as e:
        raise _unusable("build this model", e) from e
    exact_rows.apply(model)
    height, width = _image_size(pipeline)

    def blank_pass() -> None:
        # Inference: a second stage would want boxes to sample from, and batch norm must not move.
        set_training(model, False)
        images, shapes = model.preprocess(tf.zeros([1, height, width, 3]))
        model.predict(images, shapes)

    # Not in a tf.function, which would trace it twice: while it makes its variables and after.
    try:
        strategy.run(blank_pass)
    except (ValueError, TypeError, tf.errors.InvalidArgumentError) as e:
        raise _unusable(f"run this model on {height} x {width} pixels", e) from e
    return model


def set_training(model: Any, training: bool) -> None:
    """Both switches: the model's own, and Keras', which batch norm obeys.

    Call it inside the function that a strategy runs: Keras keeps its switch by thread, and a
    mirrored strategy runs its replicas in threads of their own. Set outside, batch norm would
    train with its inference statistics, without an error.
    """
    model._is_training = training
    tf.keras.backend.set_learning_phase(training)


def build_optimizer(
    pipeline: Message, step: tf.Variable, variables: list[tf.Variable]
) -> tuple[Any, Callable[[], tf.Tensor]]:
    """The recipe's optimizer with its slots made, and a function for the rate at `step`."""
    config = type(pipeline.train_config.optimizer)()
    config.CopyFrom(pipeline.train_config.optimizer)
    # True where a file leaves it out. The average is ours (odapi/averages.py), not an optimizer
    # that wraps the recipe's and has no learning rate of its own.
    config.use_moving_average = False
    rms_prop = pipeline.train_config.optimizer.WhichOneof("optimizer") == "rms_prop_optimizer"
    if rms_prop:  # the OD API gives its decay to Keras as that of the rate: 1 / (1 + decay x step)
        config.rms_prop_optimizer.decay = 0
    optimizer, (rate,) = optimizer_builder.build(config, global_step=step)
    if rms_prop:
        optimizer.rho = pipeline.train_config.optimizer.rms_prop_optimizer.decay
    optimizer._create_all_weights(variables)
    return optimizer, rate if callable(rate) else lambda: tf.convert_to_tensor(rate)


def _unusable(what: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"the Object Detection API cannot {what} ({' '.join(str(error).split())[:200]})",
        place="pipeline.config, model",
        remedy="Compare it with a published one: launcher recipes",
    )


def _image_size(pipeline: Message) -> tuple[int, int]:
    height, width = config_util.get_spatial_image_size(
        config_util.get_image_resizer_config(pipeline.model)
    )
    side = _SIDE_OF_FREE_SIZES
    return (height if height > 0 else side, width if width > 0 else side)
