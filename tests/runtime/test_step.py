"""Real optimizer steps on four architectures; what the step says it did is what it did."""

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import ConfigError
from launcher.odapi import compat, pipeline
from launcher.odapi.schedule import rate_at
from launcher.worker_config import WorkerConfig
from tests.runtime.small_pipelines import CONFIGS, demo_pipeline, small_recipe, steps_of

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(
    ("recipe", "side", "batch"),
    [
        ("efficientdet_d0", 256, 2),
        ("faster_rcnn_resnet50_v1_640", 128, 2),
        ("centernet_resnet101_v1_fpn_512", 128, 2),
    ],
)
def test_twenty_steps_of_a_published_recipe(
    recipe: str, side: int, batch: int, shapes: Path
) -> None:
    message = small_recipe(recipe, shapes, side=side, batch=batch)
    results, _ = steps_of(message, per_replica_batch=batch, count=20)
    assert [r.step for r in results] == list(range(1, 21))
    assert all(r.images == batch and math.isfinite(r.loss) for r in results)
    for r in results:
        expected = rate_at(message.train_config.optimizer, r.step - 1)
        assert r.learning_rate == pytest.approx(expected, rel=1e-5)
    assert {round(r.gradient_norm, 6) for r in results} != {0.0}


def test_accumulation_counts_all_images_and_learns(shapes: Path) -> None:
    message = demo_pipeline(shapes, batch=16, steps=12)
    results, _ = steps_of(message, per_replica_batch=4, accumulation=4, count=12)
    assert {(r.images, r.micro_batches) for r in results} == {(16, 4)}
    assert results[-1].step == 12
    assert results[-1].loss < results[0].loss


TWO_REPLICAS = """
import sys
from pathlib import Path
from launcher.odapi import compat
compat.load()
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.runtime.small_pipelines import demo_pipeline, steps_of
message = demo_pipeline(Path(sys.argv[1]), batch=8, steps=3)
results, model = steps_of(message, per_replica_batch=4, replicas=2, count=3)
assert {(r.images, r.micro_batches) for r in results} == {(8, 2)}, results
variances = [v for v in model.variables if "moving_variance" in v.name]
assert len(variances) == 60, len(variances)
still = [v.name for v in variances if float(tf.reduce_max(abs(v - 1.0))) < 1e-6]
assert still == [], still
"""


def test_batch_norm_trains_in_every_replica(shapes: Path) -> None:
    """Keras keeps its training switch by thread, and replicas run in threads of their own: batch
    norm once trained on its inference statistics, without an error and without learning."""
    done = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS, str(shapes)],
        cwd=CONFIGS.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_model_that_cannot_take_its_images_is_told(shapes: Path) -> None:
    message = demo_pipeline(shapes, batch=4, steps=4)
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height, resizer.width = 16, 32
    with pytest.raises(ConfigError, match=r"cannot run this model on 16 x 32 pixels .* recipes$"):
        steps_of(message, per_replica_batch=4, count=1)


def test_a_step_unlike_the_plan_stops_the_run() -> None:
    compat.load()
    from launcher.runtime import applied
    from launcher.runtime.step import StepResult

    optimizer = pipeline.read(CONFIGS / "demo.config").train_config.optimizer
    config = WorkerConfig(
        name="x", workers=2, gpus_per_worker=0, replicas=2, global_batch=32, per_replica_batch=8,
        accumulation_steps=2, learning_rate=0.05, warmup_learning_rate=0.005, warmup_steps=80,
        total_steps=1000,
    )  # fmt: skip

    def result(**changed: Any) -> StepResult:
        good = StepResult(
            step=81, images=32, micro_batches=4, learning_rate=0.05, gradient_norm=1.0,
            losses={"Loss/total_loss": 1.0}, save=False, stop=False,
        )  # fmt: skip
        return replace(good, **changed)

    applied.check_step(config, optimizer, result())
    for changed, message in (
        ({"images": 30}, "step 81: the step used 30 images, the plan says 32"),
        ({"micro_batches": 2}, "step 81: the step used 2 micro-batches, the plan says 4"),
        ({"learning_rate": 0.0501}, "step 81: the step applied the learning rate 0.0501, the plan"),
        # A lag of one step shows where the rate moves: in the warm-up.
        ({"step": 40, "learning_rate": rate_at(optimizer, 38)}, "step 40: .* the learning rate"),
    ):
        with pytest.raises(ConfigError, match=message):
            applied.check_step(config, optimizer, result(**changed))
    assert "8 images x 2 accumulation steps" in applied.summary(config, result())
