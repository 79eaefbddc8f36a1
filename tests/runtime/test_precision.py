"""mixed_bfloat16: what TensorFlow's CPU kernels do to its gradients, and a worker's own steps.

When the first fails because they have become exact, docs/odapi.md is due for another look.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.odapi import compat
from launcher.storage import read_jsonl
from tests.runtime.small_pipelines import demo_pipeline
from tests.runtime.test_worker_process import BATCH, finish, make_run

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


def test_a_worker_takes_its_steps_in_mixed_precision(shapes: Path, tmp_path: Path) -> None:
    """Near to those in float32, from the same weights and images; what it saves is float32."""
    import tensorflow as tf

    rows = {}
    for precision in ("float32", "mixed_bfloat16"):
        message = demo_pipeline(shapes, batch=BATCH, steps=3)
        paths = make_run(
            tmp_path / precision, message, steps=3, precision=precision, norm="moving",
            per_replica_batch=BATCH // 2, accumulation_steps=2,
        )  # fmt: skip
        code, log = finish(paths)
        assert code == 0, log
        rows[precision] = read_jsonl(paths.train_metrics)
    for exact, mixed in zip(rows["float32"], rows["mixed_bfloat16"], strict=True):
        assert mixed["loss"] == pytest.approx(exact["loss"], rel=0.05)
        assert mixed["loss"] != exact["loss"]
    saved = tf.train.load_checkpoint(str(paths.checkpoints / "ckpt-3"))
    kinds = set(saved.get_variable_to_dtype_map().values())
    assert tf.float32 in kinds
    assert tf.bfloat16 not in kinds
