"""What TensorFlow's errors mean for a run: said once, or tried again."""

from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError, OutOfMemoryError, StorageError, WorkerExit

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def out_of_memory() -> Any:
    """TensorFlow's own, of four terabytes."""
    import tensorflow as tf

    with pytest.raises(tf.errors.ResourceExhaustedError) as caught:
        tf.random.uniform([1 << 40])
    return caught.value


def test_a_first_step_that_does_not_fit_never_will(out_of_memory: Any) -> None:
    from launcher.runtime import failures

    error = failures.explain(out_of_memory, workers=2)
    assert isinstance(error, ConfigError)
    assert error.worker_exit == WorkerExit.BAD_CONFIG
    assert str(error).startswith("batch.per_replica_batch: out of memory: ")
    assert "Halve it: accumulation keeps the global batch" in str(error)


def test_one_that_fitted_before_is_tried_again(out_of_memory: Any) -> None:
    from launcher.runtime import failures

    error = failures.explain(out_of_memory, workers=2, stepped=True)
    assert isinstance(error, OutOfMemoryError)
    assert error.worker_exit == WorkerExit.PEER_LOST, "with which the group restarts"
    assert "out of memory after steps that had enough" in str(error)


@pytest.mark.parametrize("text", ["No space left on device", "Disk quota exceeded"])
def test_a_disk_or_a_quota_that_is_full_is_no_lack_of_memory(text: str) -> None:
    """Both come as RESOURCE_EXHAUSTED (tsl/platform/errors.cc)."""
    import tensorflow as tf

    from launcher.runtime import failures

    error = tf.errors.ResourceExhaustedError(None, None, f"/runs/ckpt-1; {text}")
    explained = failures.explain(error, workers=1, stepped=True)
    assert isinstance(explained, StorageError)
    assert text in str(explained)


def test_too_many_open_files_are_told_with_their_limit() -> None:
    import tensorflow as tf

    from launcher.runtime import failures

    error = tf.errors.ResourceExhaustedError(None, None, "/data/train.record; Too many open files")
    explained = failures.explain(error, workers=1)
    assert isinstance(explained, StorageError)
    assert "Raise `ulimit -n`" in str(explained)


def test_a_run_whose_checkpoint_is_there_has_had_memory_for_a_step(tmp_path: Path) -> None:
    """Also where this attempt has not come to its first."""
    from launcher.runtime.__main__ import _has_stepped

    paths = RunPaths(tmp_path)
    assert not _has_stepped(paths, None)
    paths.checkpoints.mkdir()
    assert not _has_stepped(paths, None)
    (paths.checkpoints / "ckpt-500.index").touch()
    assert _has_stepped(paths, None)
