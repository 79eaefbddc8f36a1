"""Gradient checkpointing: equal gradients, statistics moved once, one dropout mask, less memory."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from launcher.errors import ConfigError
from launcher.odapi import compat
from launcher.odapi.segments import Step, segments
from tests.runtime.checkpointed import compared, images, pipeline_of
from tests.runtime.small_pipelines import CONFIGS


def chain(*sizes: float) -> list[Step]:
    return [Step((f"t{i}",), (f"t{i + 1}",), size) for i, size in enumerate(sizes)]


def test_a_chain_of_equal_steps_keeps_twice_the_root_of_its_length() -> None:
    cuts = segments(chain(*[1.0] * 100), ["t100"])
    assert cuts[0].start == 0
    assert cuts[-1].stop == 100
    assert [a.stop for a in cuts[:-1]] == [b.start for b in cuts[1:]]
    assert len(cuts) - 1 + max(c.stop - c.start for c in cuts) < 20


def test_cuts_are_where_the_tensors_are_small() -> None:
    cuts = segments(chain(8, 8, 1, 8, 8, 1, 8, 8, 1), ["t9"])
    assert [(c.start, c.stop) for c in cuts] == [(0, 3), (3, 6), (6, 9)]


def test_no_cut_goes_through_a_residual_branch() -> None:
    steps = [
        Step(("x",), ("a",), 1),
        Step(("a",), ("b",), 1),
        Step(("b",), ("c",), 1),
        Step(("c", "a"), ("d",), 9),
        Step(("d",), ("e",), 9),
    ]
    starts = {c.start for c in segments(steps, ["e"])}
    assert starts <= {0, 1, 4}
    assert len(starts) > 1


def test_a_segment_gives_what_later_ones_and_the_caller_want() -> None:
    cuts = segments(chain(8, 1, 8, 1), ["t1", "t4"])
    assert cuts[0].takes == ("t0",)
    assert cuts[0].gives == ("t1", "t2")
    assert cuts[-1].gives == ("t4",)


@pytest.fixture(scope="module")
def tf() -> Any:
    compat.load()
    import tensorflow

    return tensorflow


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("recipe", "side", "passes", "words"),
    [
        ("demo", 64, 2, "segments of the backbone"),
        pytest.param("efficientdet_d0", 256, 1, "3 BiFPN cells", marks=pytest.mark.slow),
    ],
)
def test_gradients_and_statistics_are_those_of_a_plain_step(
    recipe: str, side: int, passes: int, words: str, tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # EfficientNet's stochastic depth draws from Keras' generator in the plain model.
    monkeypatch.setattr(tf.keras.layers.Dropout, "call", lambda self, inputs, training=None: inputs)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    found = compared(pipeline_of(recipe, side, 2), strategy, images(side, 2), passes=passes)
    assert words in found["applied"]
    assert found["gradients"] < 1e-5
    assert found["statistics"] < 1e-6
    assert found["moved"] > 1e-2
    assert found["same_names"]
    ours, peer = found["ops"]
    assert ours > 1.5 * peer  # it does compute again


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["ssd_resnet50_v1_fpn_640", "faster_rcnn_resnet50_v1_640"])
def test_other_backbones_have_the_gradients_of_a_plain_step(recipe: str, tf: Any) -> None:
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    found = compared(pipeline_of(recipe, 160, 2), strategy, images(160, 2))
    assert "segments of the backbone" in found["applied"]
    assert found["gradients"] < 1e-5
    assert found["statistics"] < 1e-6
    ours, peer = found["ops"]
    assert ours > 1.3 * peer


@pytest.mark.tensorflow
@pytest.mark.slow
def test_two_replicas_with_synchronised_norm_have_the_gradients_of_a_plain_step() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.checkpointed"],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["gradients"] < 1e-5
    assert found["statistics"] < 1e-6
    assert found["moved"] > 1e-2


def small_network(tf: Any, rate: float, kind: str = "float32") -> Any:
    """A functional model with batch norm and dropout."""
    layers = tf.keras.layers
    x = inputs = tf.keras.Input([16, 16, 3])
    for i in range(8):
        x = layers.Conv2D(8, 3, padding="same", name=f"conv{i}", dtype=kind)(x)
        x = layers.BatchNormalization(name=f"norm{i}", dtype=kind)(x)
        y = layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"drop{i}", dtype=kind)(x)
        x = layers.Add(name=f"add{i}", dtype=kind)([x, y])
    return tf.keras.Model(inputs, x)


class Holder:
    """As little of a detection model as `apply` looks at."""

    def __init__(self, *parts: Any) -> None:
        self.submodules = tuple(p for part in parts for p in (part, *part.submodules))


def gradients_of(tf: Any, model: Any, batch: Any) -> Any:
    @tf.function(autograph=False)
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = model(batch, training=True)
            loss = tf.reduce_sum(tf.cast(outputs, tf.float32) ** 2)
        found = tape.gradient(loss, model.trainable_variables)
        return outputs, tf.concat([tf.reshape(g, [-1]) for g in found], 0)

    return step(batch), step


@pytest.mark.tensorflow
def test_both_runs_of_a_segment_drop_the_same_and_each_step_drops_anew(
    tf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.odapi import recompute

    batch = tf.random.stateless_normal([4, 16, 16, 3], [5, 6])
    tf.keras.utils.set_random_seed(0)
    model = small_network(tf, 0.5)
    start = [v.numpy() for v in model.variables]
    recompute.apply(Holder(model))
    (one, _), step = gradients_of(tf, model, batch)
    two, _ = step(batch)
    assert float(tf.reduce_max(abs(one - two))) > 0.1

    # With one seed for all, the gradients are those of the same masks without recomputation.
    monkeypatch.setattr(recompute, "_draw", lambda: tf.constant([7, 8]))
    found = []
    for plain in (False, True):
        if plain:
            monkeypatch.setattr(recompute, "recomputed", recompute.with_its_seed)
        for v, value in zip(model.variables, start, strict=True):
            v.assign(value)
        found.append(gradients_of(tf, model, batch)[0])
    (outputs, gradients), (plain_outputs, plain_gradients) = found
    assert float(tf.reduce_max(abs(outputs - plain_outputs))) < 1e-5
    assert float(tf.reduce_max(abs(plain_gradients))) > 1
    relative = tf.reduce_max(abs(gradients - plain_gradients)) / tf.reduce_max(abs(plain_gradients))
    assert float(relative) < 1e-5


@pytest.mark.tensorflow
@pytest.mark.parametrize("kind", ["batch", "renorm", "moving"])
def test_moments_of_several_micro_batches_are_those_of_a_plain_step(tf: Any, kind: str) -> None:
    """Each is taken in once: the second run of a segment normalizes with those of the first."""
    from launcher.odapi import norm_layers, recompute

    batches = tf.random.stateless_normal([3, 4, 16, 16, 3], [5, 6])
    tf.keras.utils.set_random_seed(0)
    model = small_network(tf, 0.0)
    norm = norm_layers.Norm(kind, groups=2, updates=6)
    step = tf.Variable(5, dtype=tf.int64)  # renormalization is half open
    averages = norm_layers.apply(model, norm, step, 40).averages
    variables = [*model.variables, *averages]
    start = [v.numpy() for v in variables]
    found = []
    for again in (False, True):
        for v, value in zip(variables, start, strict=True):
            v.assign(value)
        if again:
            recompute.apply(Holder(model))
        gradients = accumulated(tf, model, batches)
        found.append([gradients, *(v.numpy() for v in variables)])
    assert len(averages) == {"batch": 0, "renorm": 8, "moving": 16}[kind]
    moved = [not np.array_equal(a, b) for a, b in zip(start, found[0][1:], strict=True)]
    assert sum(moved) == 16 + len(averages)
    for plain, ours in zip(*found, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5 * np.abs(plain).max())


def accumulated(tf: Any, model: Any, batches: Any) -> Any:
    """The gradients of all micro-batches, summed in a loop as the worker's step has it."""
    variables = model.trainable_variables
    size = sum(v.shape.num_elements() for v in variables)

    def one(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(model(batch, training=True)))
        return tf.concat([tf.reshape(g, [-1]) for g in tape.gradient(loss, variables)], 0)

    @tf.function(autograph=False)
    def step() -> Any:
        return tf.while_loop(
            lambda i, _: i < len(batches),
            lambda i, sums: (i + 1, sums + one(batches[i])),
            [tf.constant(0), tf.zeros([size])],
            parallel_iterations=1,
        )[1]

    return step().numpy()


@pytest.mark.tensorflow
def test_mixed_precision_recomputes_in_its_own_types(tf: Any) -> None:
    from launcher.odapi import recompute

    batch = tf.random.stateless_normal([4, 16, 16, 3], [5, 6])
    tf.keras.utils.set_random_seed(0)
    model = small_network(tf, 0.0, "mixed_bfloat16")
    (_, plain), _ = gradients_of(tf, model, batch)
    recompute.apply(Holder(model))
    (outputs, gradients), _ = gradients_of(tf, model, batch)
    assert outputs.dtype == tf.bfloat16
    assert gradients.dtype == tf.float32
    assert float(tf.reduce_max(abs(gradients - plain)) / tf.reduce_max(abs(plain))) < 0.02


@pytest.mark.tensorflow
def test_a_model_without_a_backbone_to_cut_is_refused(tf: Any) -> None:
    from launcher.odapi import recompute

    model = tf.keras.Sequential([tf.keras.layers.Dense(3)])
    with pytest.raises(ConfigError, match=r"train\.recompute: .*Holder"):
        recompute.apply(Holder(model))


@pytest.mark.tensorflow
@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "side", "at_most"), [("efficientdet_d0", 256, 0.6)])
def test_the_peak_of_memory_falls(recipe: str, side: int, at_most: float) -> None:
    done = subprocess.run(
        [sys.executable, "bench/recompute.py", "--recipe", recipe, "--side", str(side)],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1])["ratio"] < at_most
