"""Checkpoints scored one after the other by a real detector in this process."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError, DataError, OutOfMemoryError, StorageError
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


DIES = """
import os, sys
from pathlib import Path
from launcher.contract import RunPaths
from launcher.evaluate.attempts import Comparison
comparison = Comparison(RunPaths(Path(sys.argv[1])))
assert comparison.allowed(int(sys.argv[2]))
with comparison.begun(int(sys.argv[2])):
    os.kill(os.getpid(), 9)
"""


def die(paths: RunPaths, step: int) -> None:
    """As an evaluator whose comparison took all of the memory."""
    command = [sys.executable, "-c", DIES, str(paths.root), str(step)]
    assert subprocess.run(command, check=False).returncode == -9


def test_a_comparison_that_ends_the_process_costs_no_score(
    parts: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from launcher.evaluate.both_modes import BothModes

    paths = RunPaths(tmp_path)
    marker = paths.root / "progress" / "evaluator-modes.json"
    seen = []

    class Watched(BothModes):
        def measure(self) -> Any:
            *_, step = json.loads(marker.read_text())["died_at"]
            seen.append((step, paths.picture(step).exists()))
            return super().measure()

    def score(step: int) -> Any:
        save(parts, paths, step)
        one = scorer(parts, paths, modes=Watched(parts[1], parts[0].images, 2))
        row = one.score(step)
        one.close()
        assert read_jsonl(paths.eval_metrics)[-1] == row
        return row["modes"]

    die(paths, 10)
    assert score(10) is None
    assert "not compared: the evaluator died in it at step 10" in capsys.readouterr().err
    assert score(20)["images"] == IMAGES  # it was by chance
    assert not marker.exists()
    assert seen == [(20, True)]  # written down before, and made when all else is there
    die(paths, 30)
    die(paths, 40)
    assert score(40) is None
    assert score(50) is None
    assert "the evaluator died in it at step 30 and 40" in capsys.readouterr().err
    assert len(seen) == 1


def test_detection_errors_say_what_is_at_fault(parts: tuple[Any, Any], tmp_path: Path) -> None:
    import tensorflow as tf

    one = scorer(parts, RunPaths(tmp_path))
    errors = tf.errors

    def kind(error: type, text: str) -> Any:
        return type(one._explain(error(None, None, text)))

    assert kind(errors.InternalError, "CUDA_ERROR_LAUNCH_FAILED") is type(None), "another try"
    assert kind(errors.UnknownError, "val.record; Input/output error") is StorageError
    assert kind(errors.ResourceExhaustedError, "val.record; Too many open files") is StorageError
    assert kind(errors.ResourceExhaustedError, "OOM when allocating") is ConfigError
    assert kind(errors.DataLossError, "corrupted record at 12") is DataError
    text = "{{function_node __wrapped__IteratorGetNext}} bad shape"
    assert kind(errors.InvalidArgumentError, text) is DataError
    save(parts, RunPaths(tmp_path), 10)
    one.score(10)
    assert kind(errors.ResourceExhaustedError, "OOM when allocating") is OutOfMemoryError
    one.close()


def test_labels_given_by_text_are_no_damage(parts: tuple[Any, Any], tmp_path: Path) -> None:
    from launcher.evaluate import ground_truth
    from launcher.evaluate.scoring import Scorer
    from tests.evaluate.conftest import Val

    val = Val(tmp_path)
    record = val.record(
        "1",
        [val.box(1, 20, 20, 60, 50)],
        (128, 128),
        image__object__class__text=["square"],
        image__object__class__label=[77],
    )
    file = val.write(record)
    truth = ground_truth.read([str(file)], ground_truth.Labels.read(val.label_map), 3, 1)
    one = Scorer(RunPaths(tmp_path), truth, parts[1], lambda: None, total_steps=10)
    assert one._find_damage() is None
    file.write_bytes(file.read_bytes()[:-1])
    assert "record 0" in str(one._find_damage())
    one.close()


def test_scores_leave_nothing_of_a_checkpoint_behind(
    parts: tuple[Any, Any], tmp_path: Path
) -> None:
    """A checkpoint of a run has an optimizer and a step, which a detector has not."""
    import gc

    import tensorflow as tf

    model = parts[1].model
    others = tf.train.Checkpoint(**{f"slot{i}": tf.Variable(0.0) for i in range(5)})
    saved = tf.train.Checkpoint(model=model, optimizer=others, step=tf.Variable(0))
    prefix = Path(saved.save(str(tmp_path / "ckpt")))

    def kept() -> int:
        gc.collect()
        return sum(type(o).__name__ == "CheckpointPosition" for o in gc.get_objects())

    parts[1].restore(prefix)
    before = kept()
    for _ in range(3):
        parts[1].restore(prefix)
    assert kept() == before


def test_any_step_can_be_certified(parts: tuple[Any, Any], tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    save(parts, paths, 10)
    one = scorer(parts, paths, certified_from=10_000)
    assert one.score(10)["engine"] == "hotcoco"
    assert one.score(10, certified=True)["engine"] == "pycocotools"
    one.close()
