"""One series of checkpoints for all attempts of a run, saved by the whole group together.

The objects are named as the OD API names them (`step`, `model`, `optimizer`), so that its
exporter reads our checkpoints.
"""

import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf

from launcher.contract import RunPaths
from launcher.errors import ConfigError


class Checkpoints:
    def __init__(
        self,
        paths: RunPaths,
        *,
        step: tf.Variable,
        model: Any,
        optimizer: Any,
        keep: int,
        worker: int,
    ) -> None:
        self._shared = paths.checkpoints
        # Reading variables that differ between replicas (batch-norm moments) takes all workers, so
        # all of them save; what the others write is thrown away.
        self._throwaway = None if worker == 0 else self._shared / f".worker-{worker}"
        self._checkpoint = tf.train.Checkpoint(step=step, model=model, optimizer=optimizer)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint,
            str(self._throwaway or self._shared),
            max_to_keep=keep if worker == 0 else 1,
            checkpoint_name="ckpt",
        )
        self._step = step

    def restore_newest(self) -> int:
        """Continue from the newest checkpoint, or start at step 0. Returns the steps done.

        Raises ConfigError when the checkpoint is of another model or optimizer.
        """
        newest = tf.train.latest_checkpoint(str(self._shared))
        if newest is None:
            return 0
        try:
            self._checkpoint.restore(newest).assert_existing_objects_matched()
        except (AssertionError, ValueError, tf.errors.OpError) as e:
            reason = str(e).strip().splitlines()[0][:200]
            raise ConfigError(
                f"this checkpoint is not of the run's model ({reason})",
                place=newest,
                remedy="Submit with --replace to start anew, or under another name",
            ) from None
        return int(self._step.numpy())

    def save(self) -> Path:
        """All workers call it after the same step. Returns the prefix `ckpt-<step>`."""
        prefix = self._manager.save(checkpoint_number=self._step)
        if self._throwaway is not None:
            shutil.rmtree(self._throwaway, ignore_errors=True)
        return Path(prefix)
