"""One step of a global batch as a process of TF_CONFIG takes it; without TF_CONFIG, of it all.

    python -m tests.runtime.two_workers FOLDER

The process without comes first and leaves its weights in FOLDER for the others to start from.
test_two_workers.py compares what they write.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from launcher.contract import ENV_TF_CONFIG, RunPaths, worker_index
from launcher.odapi import compat
from tests.runtime import splits

WHOLE = "whole"


def main(folder: Path) -> None:
    compat.load()
    import tensorflow as tf

    from launcher.runtime import coordination, devices

    devices.limit_threads(1)
    workers = 2 if ENV_TF_CONFIG in os.environ else 1
    worker = worker_index(os.environ)
    if workers == 1:
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    else:
        coordination.configure(workers)
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    name = WHOLE if workers == 1 else f"worker-{worker}"
    np.savez(folder / f"{name}.npz", **runs(strategy, folder, workers, worker))
    coordination.leave_together(worker, workers, seconds=60, say=print)
    os._exit(0)  # as a worker leaves


def runs(strategy: Any, folder: Path, workers: int, worker: int) -> dict[str, Any]:
    message, batch = splits.pipeline(), splits.images()
    each = splits.IMAGES // workers
    found: dict[str, Any] = {}
    trainer = started(strategy, message, folder)
    found |= trainer.run("held", batch, each, "global")
    if workers > 1:
        found |= trainer.run("held, accumulated", batch, each // 2, "global")
    message.model.ssd.freeze_batchnorm = False
    return found | moving(started(strategy, message, folder), folder, batch, each, worker)


def moving(trainer: Any, folder: Path, batch: Any, each: int, worker: int) -> dict[str, Any]:
    """With moments of all workers, whose averages are saved, lost and restored."""
    import tensorflow as tf

    from launcher.odapi import norm_layers
    from launcher.runtime.checkpoints import Checkpoints

    replicas = trainer.strategy.num_replicas_in_sync
    with trainer.strategy.scope():
        step = tf.Variable(5, dtype=tf.int64)
        norm = norm_layers.Norm("moving", synchronised=replicas > 1)
        state = norm_layers.apply(trainer.model, norm, step, 40)
    found = dict(trainer.run("moving", batch, each, "global"))
    found["state"] = values(state)
    paths = RunPaths(folder / f"run of {replicas}")
    with trainer.strategy.scope():
        checkpoints = Checkpoints(
            paths, step=trainer.done, model=trainer.model, optimizer=trainer.optimizer, keep=1,
            worker=worker, norm=state, say=print,
        )  # fmt: skip
        trainer.done.assign(1)
        checkpoints.save()
        for variable in state.averages:
            variable.assign(tf.zeros_like(variable))
        found["lost"] = values(state)
        assert checkpoints.restore_newest() == 1
    found["restored"] = values(state)
    return found


def values(state: Any) -> Any:
    return np.concatenate([v.numpy().ravel() for v in state.averages])


def started(strategy: Any, message: Any, folder: Path) -> Any:
    trainer = splits.Trainer(strategy, message)
    kept = folder / "start.npz"
    if not kept.exists():
        np.savez(kept, *trainer.start)
    with np.load(kept) as arrays:
        trainer.start = [arrays[name] for name in arrays.files]
    return trainer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
