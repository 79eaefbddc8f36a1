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

        Raises ConfigError when the checkpoint is of another model or optimizer, or damaged.
        """
        newest = tf.train.latest_checkpoint(str(self._shared))
        if newest is None:
            return 0
        try:
            self._checkpoint.restore(newest).assert_existing_objects_matched()
        except (AssertionError, ValueError) as e:
            raise ConfigError(
                f"this checkpoint is not of the run's model ({_reason(e)})",
                place=newest,
                remedy="Submit with --replace to start anew, or under another name",
            ) from None
        except (tf.errors.OpError, IndexError) as e:  # IndexError: a data file is cut short
            raise ConfigError(
                f"this checkpoint cannot be read ({_reason(e)})",
                place=newest,
                remedy=self._other_start(newest),
            ) from None
        return int(self._step.numpy())

    def _other_start(self, unreadable: str) -> str:
        anew = "submit with --replace to start anew"
        steps = [_step_of(path) for path in self._shared.glob("ckpt-*.index")]
        older = [step for step in steps if step < _step_of(Path(f"{unreadable}.index"))]
        if not older:
            return f"Put its files back from a copy, or {anew}"
        return (
            f'Write model_checkpoint_path: "ckpt-{max(older)}" into {self._shared / "checkpoint"} '
            f"and submit with --resume, or {anew}"
        )

    def save(self) -> Path:
        """All workers call it after the same step. Returns the prefix `ckpt-<step>`."""
        prefix = self._manager.save(checkpoint_number=self._step)
        if self._throwaway is not None:
            shutil.rmtree(self._throwaway, ignore_errors=True)
        return Path(prefix)


def _step_of(index: Path) -> int:
    number = index.stem.removeprefix("ckpt-")
    return int(number) if number.isdecimal() else -1


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
