"""Small detection models with random weights, and their checkpoints in the OD API's layout."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline

SIDE = 128


def demo(*, classes: int = 3, depth: float = 0.35) -> Any:
    """The demo's pipeline; no test that only builds it reads its data."""
    message = demo_pipeline(Path("/no/data"), batch=4, steps=20)
    message.model.ssd.num_classes = classes
    message.model.ssd.feature_extractor.depth_multiplier = depth
    return message


def built(message: Any, side: int = SIDE) -> Any:
    """The model with all of its variables made, by one eager pass."""
    compat.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    from launcher.runtime.model import set_training

    model = model_builder.build(message.model, is_training=True)
    set_training(model, False)
    images, shapes = model.preprocess(tf.zeros([1, side, side, 3]))
    model.postprocess(model.predict(images, shapes), shapes)
    return model


def randomize(model: Any, seed: int) -> dict[str, Any]:
    """New values for all variables, which it returns by name."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        values = random.normal(0, 0.2, variable.shape).astype("float32")
        is_scale = "variance" in variable.name or "gamma" in variable.name
        variable.assign(np.abs(values) + 0.5 if is_scale else values)
    return values_of(model)


def values_of(model: Any) -> dict[str, Any]:
    """By name, without the number that Keras gives the second model of a process."""
    return {plain_name(v): v.numpy() for v in model.variables}


def plain_name(variable: Any) -> str:
    return re.sub(r"(feature_extractor)_\d+/", r"\1/", variable.name.removesuffix(":0"))


def save(folder: Path, **objects: Any) -> str:
    """As exporter_lib_v2 writes `checkpoint/` of the zoo's tarballs."""
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(**objects)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=1)
    return str(manager.save(checkpoint_number=0))


def same(names: set[str], ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    return all(np.array_equal(ours[name], theirs[name]) for name in names)


def names_of(model: Any, belongs: Callable[[str], bool]) -> set[str]:
    return {name for name in values_of(model) if belongs(name)}
