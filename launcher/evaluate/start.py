"""TensorFlow in this process, and the detector of a run: the same for scores and for exports."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.evaluate.process import Environment, say
from launcher.odapi import compat
from launcher.worker_config import WorkerConfig

if TYPE_CHECKING:
    from launcher.evaluate.detector import Detector

MAX_BATCH = 16  # images at a time: an SSD on a CPU was as fast with 8 as with 16 and 32


def start_detector(
    config: WorkerConfig, model: Any, files: Sequence[Path], environment: Environment
) -> "Detector":
    """Of the pipeline `model`, for the records `files`. Once in a process."""
    # What a batch needs is at most what training needs for it.
    batch = min(config.per_replica_batch, MAX_BATCH)
    averaged = config.ema_decay is not None
    if averaged:
        say(f"the weights are their moving averages (train.ema_decay {config.ema_decay:g})")
    elif model.eval_config.use_moving_averages:
        say("warning: eval_config.use_moving_averages is not used: the weights themselves count")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # no notes, but warnings and errors
    compat.load()
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # its warnings are of deprecated calls in the OD API

    from launcher.evaluate.detector import Detector

    if threads := environment.cpu_threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    return Detector(
        model, files, batch, environment.cpu_threads, averaged=averaged, norm=config.norm
    )
