"""The evaluator's own batch: what training's memory allows, whatever the pipeline.config has."""

from collections.abc import Callable

import pytest

from launcher.evaluate.process import Environment
from launcher.evaluate.start import MAX_BATCH, start_detector
from launcher.odapi import compat, pipeline
from launcher.worker_config import WorkerConfig
from tests.evaluate.conftest import Val

pytestmark = pytest.mark.tensorflow


@pytest.mark.parametrize(
    ("per_replica", "expected"), [(2, 2), (MAX_BATCH, MAX_BATCH), (128, MAX_BATCH)]
)
def test_batch_is_at_most_that_of_a_replica(
    per_replica: int, expected: int, ssd: Callable[..., str], val: Val
) -> None:
    model = pipeline.parse(ssd(val.folder), "test")
    model.eval_config.batch_size = 3
    config = WorkerConfig(
        name="batch", workers=1, gpus_per_worker=0, replicas=1, global_batch=per_replica,
        per_replica_batch=per_replica, accumulation_steps=1, learning_rate=0.05,
        warmup_learning_rate=0.005, warmup_steps=0, total_steps=10,
    )  # fmt: skip
    file = val.write(*(val.record(str(i), size=(128, 128)) for i in range(20)))
    try:
        detector = start_detector(config, model, [file], Environment({}))
        assert len(next(detector.detect())) == expected
    finally:
        compat.load()
        import tensorflow as tf

        tf.keras.backend.clear_session()  # the learning phase is one for the whole process
