"""Checkpoints scored one after the other by a real detector in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.odapi import compat, pipeline
from launcher.storage import read_jsonl

pytestmark = pytest.mark.tensorflow
IMAGES = 4


@pytest.fixture(scope="module")
def parts(
    tmp_path_factory: pytest.TempPathFactory, ssd: Callable[..., str]
) -> Iterator[tuple[Any, Any]]:
    """Four val images, and the detector of a model that was never trained."""
    compat.load()
    import tensorflow as tf

    from launcher.evaluate import ground_truth
    from launcher.evaluate.detector import Detector
    from tests.evaluate.conftest import Val

    val = Val(tmp_path_factory.mktemp("val"))
    examples = [val.record(str(i), [val.box(1, 20, 20, 60, 50)], (128, 128)) for i in range(IMAGES)]
    file = val.write(*examples)
    labels = ground_truth.Labels.read(val.label_map)
    truth = ground_truth.read([str(file)], labels, 3, IMAGES)
    yield truth, Detector(pipeline.parse(ssd(val.folder), "test"), [file], 2, 1)
    tf.keras.backend.clear_session()  # the learning phase is one for the whole process


def scorer(parts: tuple[Any, Any], paths: RunPaths, **more: Any) -> Any:
    from launcher.evaluate.scoring import Scorer

    truth, detector = parts
    return Scorer(paths, truth, detector, lambda: None, total_steps=10_000, **more)


def save(parts: tuple[Any, Any], paths: RunPaths, step: int) -> None:
    import tensorflow as tf

    checkpoint = tf.train.Checkpoint(model=parts[1].model)
    manager = tf.train.CheckpointManager(checkpoint, str(paths.checkpoints), 7)
    manager.save(checkpoint_number=step)


def test_every_score_is_written_and_some_are_drawn(parts: tuple[Any, Any], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths = RunPaths(tmp_path)
    steps = [10, 20, 30, 100, 120, 10_000]
    for step in steps:
        save(parts, paths, step)
        one = scorer(parts, paths)  # as if the evaluator was started again
        row = one.score(step)
        one.close()
        assert (paths.root / row["picture"]).is_file()
    assert [row["step"] for row in read_jsonl(paths.eval_metrics)] == steps
    drawn = [10, 100, 10_000]
    assert sorted(paths.report.glob("*.png")) == sorted(paths.picture(step) for step in drawn)
    events = EventAccumulator(str(paths.tensorboard / "eval")).Reload()
    assert sorted(e.step for e in events.Tensors("coco/mAP")) == steps
    assert sorted(e.step for e in events.Tensors("val/0")) == drawn
