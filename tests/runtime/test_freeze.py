"""Frozen variables: real steps, a restart and two replicas leave them bit by bit as they were."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError
from launcher.odapi import compat
from tests.runtime.built_models import built, demo, plain_name
from tests.runtime.small_pipelines import CONFIGS, demo_pipeline

pytestmark = pytest.mark.tensorflow

PATTERNS = ["^backbone/", "ClassPredictor"]
BATCH = 4


class Worker:
    """One attempt, put together as runtime/loop.py does it."""

    def __init__(self, data: Path, paths: RunPaths, replicas: int = 1) -> None:
        compat.load()
        import tensorflow as tf

        from launcher.runtime import freeze
        from launcher.runtime.checkpoints import Checkpoints
        from launcher.runtime.inputs import train_dataset
        from launcher.runtime.model import build_model, build_optimizer
        from launcher.runtime.step import TrainStep

        message = demo_pipeline(data, batch=BATCH * replicas, steps=20)
        message.train_config.freeze_variables[:] = PATTERNS
        strategy = (
            tf.distribute.OneDeviceStrategy("/cpu:0")
            if replicas == 1
            else tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(replicas)])
        )
        self.strategy = strategy
        tf.random.set_seed(0)
        with strategy.scope():
            done = tf.Variable(
                0,
                dtype=tf.int64,
                trainable=False,
                aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            )
            self.model = build_model(message, strategy)
            self.chosen = freeze.apply(self.model, message.train_config)
            optimizer, _ = build_optimizer(message, done, self.chosen.trained)
            self.checkpoints = Checkpoints(
                paths, step=done, model=self.model, optimizer=optimizer, keep=7, worker=0
            )
            self.done = self.checkpoints.restore_newest()
            self.start = self.values()
            self.step = TrainStep(
                strategy,
                self.model,
                optimizer,
                done,
                message.train_config,
                1,
                variables=self.chosen.trained,
            )
        self.iterator = iter(
            strategy.distribute_datasets_from_function(
                lambda _: train_dataset(message, self.model, batch=BATCH, seed=0)
            )
        )

    def train(self, steps: int) -> dict[str, Any]:
        """All variables afterwards."""
        from launcher.runtime.step import Requests

        for _ in range(steps):
            assert self.step(self.iterator, Requests()).gradient_norm > 0
        return self.values()

    def values(self) -> dict[str, Any]:
        """By name; of several replicas those of each, [replicas, ...]."""
        return {
            plain_name(v): np.stack([part.numpy() for part in v.values]) if hasattr(v, "values")
            else v.numpy()
            for v in self.model.variables
        }  # fmt: skip


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if not np.array_equal(before[name], after[name])}


def check(worker: Worker, after: dict[str, Any]) -> None:
    """Trained variables moved, and the statistics above the backbone; nothing else did."""
    moved = changed(worker.start, after)
    trained = {plain_name(v) for v in worker.chosen.trained}
    statistics = moved - trained
    # All with weight decay; a gamma of 1.0 may lose a small update to rounding, and a box head that
    # no anchor was matched for has no gradient for its bias.
    assert not [n for n in trained - moved if not n.endswith(("/gamma", "/bias"))]
    assert len(trained - moved) < len(trained) / 3
    assert statistics == {name for name in after if "FeatureMaps" in name and "moving_" in name}
    assert not [n for n in moved if n.startswith(("block_", "Conv", "bn_", "expanded_conv"))]
    assert not [n for n in moved if "ClassPredictor" in n]


def test_steps_a_checkpoint_and_a_restart(shapes: Path, tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    worker = Worker(shapes, paths)
    assert str(worker.chosen) == (
        "freeze: 168 of 204 variables, 0.3 M of 0.6 M parameters; "
        "the statistics of 52 normalization layers stand still"
    )
    parameters = sum(v.shape.num_elements() for v in worker.chosen.trained)
    assert sum(worker.step._sizes) == parameters, "what is all-reduced"
    after = worker.train(2)
    check(worker, after)
    prefix = worker.checkpoints.save()
    import tensorflow as tf

    saved = [name for name, _ in tf.train.list_variables(str(prefix))]
    slots = [name for name in saved if ".OPTIMIZER_SLOT/optimizer/momentum" in name]
    assert len(slots) == len(worker.chosen.trained)

    again = Worker(shapes, paths)
    assert again.done == 2
    assert not changed(again.start, after), "all of the checkpoint was restored"
    check(again, again.train(2))


TWO_REPLICAS = """
import sys
from pathlib import Path
from launcher.contract import RunPaths
from launcher.odapi import compat
compat.load()
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from launcher.runtime import fine_tune
from tests.runtime.built_models import demo, plain_name
from tests.runtime.test_freeze import Worker, changed, check
worker = Worker(Path(sys.argv[1]), RunPaths(Path(sys.argv[2])), replicas=2)

# Starting weights reach both replicas.
start = demo().train_config
start.fine_tune_checkpoint = tf.train.Checkpoint(model=worker.model).save(sys.argv[2] + "/zoo")
start.fine_tune_checkpoint_type = "full"
with worker.strategy.scope():
    for variable in worker.model.variables:
        variable.assign(tf.ones(variable.shape))
assert len(changed(worker.start, worker.values())) > 200
with worker.strategy.scope():
    fine_tune.restore(worker.model, start)
assert not changed(worker.start, worker.values())

after = worker.train(2)
check(worker, after)
for variable in worker.chosen.trained:
    first, second = after[plain_name(variable)]
    assert (first == second).all(), variable.name
"""


@pytest.mark.slow
def test_two_replicas(shapes: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS, str(shapes), str(tmp_path)],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def choose(model: Any, *, freeze: list[str] = [], update: list[str] = []) -> Any:  # noqa: B006
    from launcher.runtime import freeze as freezing

    config = demo().train_config
    config.freeze_variables[:] = freeze
    config.update_trainable_variables[:] = update
    return freezing.apply(model, config)


def refused(model: Any, **patterns: list[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        choose(model, **patterns)
    return str(caught.value)


def test_patterns(tmp_path: Path) -> None:
    model = built(demo())
    import tensorflow as tf

    everything = len(model.trainable_variables)
    assert not choose(model).frozen
    message = refused(model, freeze=["BoxPredictor", "FeatureExtractor"])
    assert message.startswith(
        'train.freeze (freeze_variables): "FeatureExtractor" matches none of the 204 variables '
        "that can be trained. Did you mean "
    )
    assert "ssd_mobile_net_v2_keras_feature_extractor" in message
    assert message.endswith("? `launcher variables NAME` lists all")
    assert refused(model, update=["^heads/nothing"]).startswith(
        'train_config.update_trainable_variables: "^heads/nothing" matches none of'
    )
    assert "Names are as backbone/Conv1/kernel, heads/BoxPredictor/" in refused(
        model, freeze=["zzzz"]
    )
    message = refused(model, freeze=["^backbone/", "^neck/", "Box"])
    assert message.startswith("train.freeze: nothing is left to train: all 204 variables are froze")
    assert '"Conv(1" is no regular expression' in refused(model, freeze=["Conv(1"])
    assert len(model.trainable_variables) == everything, "a refusal changes nothing"

    # With and without the part; a whitelist first, then what is frozen of it.
    assert {v.name for v in choose(model, freeze=["^Conv1/"]).frozen} == {"Conv1/kernel:0"}
    chosen = choose(model, update=["^heads/"], freeze=["/bias$"])
    assert len(chosen.trained) == 12
    assert all("Predictor/kernel" in v.name for v in chosen.trained)
    assert chosen.still_norms == 60
    assert choose(model, update=["^heads/"]).still_norms == 60, "again, as after norm: frozen"

    # A layer that stands still normalizes with its statistics in training, too: the OD API's own,
    # which are Keras' version 1 and do not heed `trainable`.
    from launcher.odapi.norm_layers import layers_of

    for layer in layers_of(model)[::20]:
        x = tf.random.normal([2, 8, 8, layer.moving_mean.shape[0]], seed=1)
        np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
