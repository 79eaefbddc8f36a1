"""The moving average of the weights: its values, its place in the checkpoint, and who reads it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError
from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline

pytestmark = pytest.mark.tensorflow

DECAY = 0.6  # reached by the ramp (1 + t) / (10 + t) at step 13


@pytest.fixture(autouse=True)
def tensorflow() -> None:
    compat.load()


def training(**options: Any) -> Any:
    from google.protobuf import text_format

    from launcher.odapi import protos
    from launcher.odapi.averages import Averages
    from tests.runtime.tiny_model import TinyTraining

    config = text_format.Parse(
        "optimizer { momentum_optimizer { momentum_optimizer_value: 0.9 learning_rate {"
        " constant_learning_rate { learning_rate: 0.5 } } } }",
        protos.message("TrainConfig")(),
    )
    return TinyTraining(config, averages=lambda model: Averages(model, DECAY), **options)


def checkpoints(folder: Path, trained: Any) -> Any:
    from launcher.runtime.checkpoints import Checkpoints

    return Checkpoints(
        RunPaths(folder),
        step=trained.done,
        model=trained.model,
        optimizer=trained.optimizer,
        averages=trained.averages,
        keep=3,
        worker=0,
    )


def values(trained: Any) -> dict[str, float]:
    return {place: float(v.numpy()) for place, v in trained.averages.saved.values.items()}


def test_equals_the_recurrence_over_real_steps_and_a_resume(tmp_path: Path) -> None:
    """Of a weight and of a statistic that is not trained, with a restart in the middle."""
    trained = training()
    trained.model.weight.assign(2.0)
    trained.averages.start(trained.strategy)
    expected = {"weight": 2.0, "seen": 0.0}
    for t in range(1, 31):
        if t == 9:
            checkpoints(tmp_path, trained).save()
            trained = training()
            assert checkpoints(tmp_path, trained).restore_newest() == 8
        trained.one()
        decay = min(DECAY, (1 + t) / (10 + t))
        for name in expected:
            now = float(getattr(trained.model, name).numpy())
            expected[name] -= (1 - decay) * (expected[name] - now)
        assert values(trained) == pytest.approx(expected, rel=1e-5)
    assert float(trained.model.seen.numpy()) == 4 * 30
    assert values(trained)["weight"] != pytest.approx(float(trained.model.weight.numpy()))


@pytest.fixture(scope="module")
def saved(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Any]:
    """A pipeline, a checkpoint of a training SSD whose averages are not its weights, and them."""
    compat.load()
    import tensorflow as tf

    from launcher.odapi.averages import KEY, Averages
    from launcher.runtime.model import build_model

    message = demo_pipeline(shapes, batch=4, steps=4)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        model = build_model(message, strategy)
        averages = Averages(model, DECAY)
    averages.start(strategy)
    random = np.random.default_rng(0)
    for place, v in averages.saved.values.items():
        change = random.normal(0, 0.1, v.shape)
        v.assign(v + (np.abs(change) if "variance" in place else change).astype(np.float32))
    folder = tmp_path_factory.mktemp("averages")

    def save(step: int, **more: Any) -> Path:
        checkpoint = tf.train.Checkpoint(model=model, **more)
        manager = tf.train.CheckpointManager(checkpoint, str(folder), 9, checkpoint_name="ckpt")
        return Path(manager.save(checkpoint_number=step))

    save(3)
    prefix = save(4, **{KEY: averages.saved})
    return message, prefix, {k: v.numpy() for k, v in averages.saved.values.items()}


def test_the_evaluator_scores_the_averages(saved: Any, shapes: Path) -> None:
    from launcher.evaluate.detector import Detector
    from launcher.odapi.averages import averaged, has_averages

    message, prefix, expected = saved
    files = sorted(shapes.glob("val.record-*"))
    detector = Detector(message, files, 8, 1, averaged=True)
    detector.restore(prefix)
    model = averaged(detector._model)
    assert len(model) == len(expected) > 250
    for place, value in expected.items():
        np.testing.assert_array_equal(model[place].numpy(), value)
    ours = next(detector.detect())

    detector._averaged = False  # the same detector, as of a run without an average
    detector.restore(prefix)
    weights = next(detector.detect())
    assert any(
        len(a.scores) != len(b.scores) or not np.allclose(a.scores, b.scores)
        for a, b in zip(ours, weights, strict=True)
    )

    detector._averaged = True
    without = prefix.with_name("ckpt-3")
    assert (has_averages(prefix), has_averages(without)) == (True, False)
    with pytest.raises(ConfigError, match="has no average of the weights"):
        detector.restore(without)
