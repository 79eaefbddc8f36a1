"""The series of checkpoints: of this model, of another, and damaged."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Checkpoints of steps 3 and 5 of a "model" of one matrix."""
    paths = RunPaths(tmp_path_factory.mktemp("run"))
    for step in (3, 5):
        checkpoints(paths, step=step).save()
    return paths


def checkpoints(paths: RunPaths, *, step: int = 0, size: int = 50, name: str = "weight") -> Any:
    import tensorflow as tf

    from launcher.runtime.checkpoints import Checkpoints

    model = tf.train.Checkpoint(**{name: tf.Variable(tf.ones([size, size]))})
    optimizer = tf.train.Checkpoint(momentum=tf.Variable(tf.zeros([size, size])))
    count = tf.Variable(step, dtype=tf.int64)
    return Checkpoints(paths, step=count, model=model, optimizer=optimizer, keep=7, worker=0)


def test_the_newest_is_continued(saved: RunPaths, tmp_path: Path) -> None:
    assert checkpoints(saved).restore_newest() == 5
    assert checkpoints(RunPaths(tmp_path)).restore_newest() == 0


@pytest.mark.parametrize("other", [{"size": 51}, {"name": "kernel"}])
def test_one_of_another_model_is_told(saved: RunPaths, other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        checkpoints(saved, **other).restore_newest()
    (problem,) = caught.value.problems
    assert problem.place == str(saved.checkpoints / "ckpt-5")
    assert problem.what.startswith("this checkpoint is not of the run's model (")
    assert problem.remedy == "Submit with --replace to start anew, or under another name"


@pytest.mark.parametrize("part", ["data-00000-of-00001", "index"])
def test_a_damaged_one_names_the_way_out(saved: RunPaths, tmp_path: Path, part: str) -> None:
    paths = RunPaths(tmp_path)
    shutil.copytree(saved.checkpoints, paths.checkpoints)
    # The names in the state file are relative, as a run that was copied needs them.
    damaged = paths.checkpoints / f"ckpt-5.{part}"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(ConfigError) as caught:
        checkpoints(paths).restore_newest()
    (problem,) = caught.value.problems
    assert problem.place == str(paths.checkpoints / "ckpt-5")
    assert problem.what.startswith("this checkpoint cannot be read (")
    state = paths.checkpoints / "checkpoint"
    advice = 'model_checkpoint_path: "ckpt-3"'
    assert problem.remedy == (
        f"Write {advice} into {state} and submit with --resume, "
        "or submit with --replace to start anew"
    )
    state.write_text(f"{advice}\n")  # the advice works
    assert checkpoints(paths).restore_newest() == 3
    for file in paths.checkpoints.glob("ckpt-3.*"):
        file.rename(file.with_name(file.name.replace("-3", "-6")))
    state.write_text('model_checkpoint_path: "ckpt-5"\n')
    with pytest.raises(ConfigError, match="Put its files back from a copy, or submit with --repl"):
        checkpoints(paths).restore_newest()
