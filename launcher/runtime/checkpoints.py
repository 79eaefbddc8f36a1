"""One series of checkpoints for all attempts of a run, saved by the whole group together.

The objects are named as the OD API names them (`step`, `model`, `optimizer`), so that its
exporter reads our checkpoints.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from launcher.contract import RunPaths
from launcher.errors import ConfigError, DivergedError, StorageError
from launcher.odapi.averages import KEY, Averages
from launcher.records import unfinished
from launcher.runtime import failures
from launcher.runtime.checkpoint_files import CheckpointFiles, flaw, reason

_ASIDE = "checkpoints/damaged"


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
        averages: Averages | None = None,
        norm: Any = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self._files = CheckpointFiles(paths)
        self._worker = worker
        # Reading variables that differ between replicas (batch-norm moments) takes all workers, so
        # all of them save; what the others write is thrown away.
        self._throwaway = unfinished.throwaway(paths.checkpoints, worker) if worker else None
        more = {KEY: averages.saved} if averages else {}
        if norm is not None and norm.averages:
            more["norm"] = norm
        self._checkpoint = tf.train.Checkpoint(step=step, model=model, optimizer=optimizer, **more)
        self._weights = list(getattr(model, "trainable_variables", []))
        self._step = step
        self._keep = keep
        self._say = say
        self._manager: tf.train.CheckpointManager | None = None

    def restore_newest(self) -> int:
        """Continue from the newest good checkpoint, or start at step 0. Returns the steps done.

        Worker 0 chooses and tells the others, within `strategy.scope()`; those that it cannot read
        are set aside. Raises ConfigError when there are checkpoints and all are damaged, or the
        chosen one is of another model or optimizer; StorageError when the disk does not give one.
        """
        chosen = _from_worker_0(self._choose() if self._worker == 0 else 0)
        if self._throwaway is not None:
            shutil.rmtree(self._throwaway, ignore_errors=True)
        return self._restore(self._files.prefix(chosen)) if chosen else 0

    def _choose(self) -> int:
        """The step of the newest good checkpoint, 0 when none was ever saved."""
        folder = self._files.folder
        # Of killed workers, whose index a smaller group may not have; nobody saves yet.
        unfinished.remove_throwaways(folder)
        begun = unfinished.begun(folder)
        flaws: dict[int, str] = {}
        for step in self._files.steps():
            found = flaw(self._files.prefix(step))
            if found is not None and step in begun:
                unfinished.remove_step(folder, step)
                self._say(f"ckpt-{step} was not finished when its writer ended: removed")
                continue
            if found is None:
                self._remove_parts()
                for bad, why in flaws.items():
                    self._files.set_aside(bad)
                    self._say(f"ckpt-{bad} is damaged ({why}): set aside in {_ASIDE}")
                self._files.write_state()
                return step
            flaws[step] = found
        self._remove_parts()
        # They stay where they are: the next start must not take the folder for a new run's.
        lost = set(self._files.named()) - set(flaws)
        flaws |= dict.fromkeys(sorted(lost, reverse=True), "its files are gone")
        if flaws:
            told = "; ".join(f"ckpt-{step}: {why}" for step, why in flaws.items())
            raise ConfigError(
                f"none of the checkpoints can be read ({told})",
                place=str(self._files.folder),
                remedy="Put the files of one back from a copy and submit with --resume, "
                "or submit with --replace to start anew",
            )
        return 0

    def _remove_parts(self) -> None:
        """Last of all: they tell which checkpoints were never finished."""
        for name in unfinished.remove_parts(self._files.folder):
            self._say(f"{name} was not finished when its writer ended: removed")

    def _restore(self, prefix: str) -> int:
        try:
            self._checkpoint.restore(prefix).assert_existing_objects_matched()
        except (AssertionError, ValueError) as e:
            raise ConfigError(
                f"this checkpoint is not of the run's model ({reason(e)})",
                place=prefix,
                remedy="Submit with --replace to start anew, or under another name",
            ) from None
        except (tf.errors.OpError, IndexError) as e:
            # Worker 0 has read it whole: this is the reader's trouble, not the file's.
            raise StorageError(
                f"this checkpoint cannot be read here ({reason(e)})",
                place=prefix,
                remedy="Check that this worker's mount of run_dir is that of worker 0",
            ) from None
        return int(self._step.numpy())

    def save(self) -> Path:
        """All workers call it after the same step. Returns the prefix `ckpt-<step>`.

        Raises StorageError when it cannot be written, with nothing left of it and the one before
        as good as it was; DivergedError when there is a weight that is no number.
        """
        step = int(self._step.numpy())
        self._require_finite(step)
        try:
            prefix = self._manager_of_group().save(checkpoint_number=step)
        except (tf.errors.OpError, OSError) as e:
            if failures.is_from_peer(e):
                raise
            self._undo(step)
            raise StorageError(
                f"cannot save the checkpoint of step {step} ({failures.first_line(e)})",
                place=str(self._files.folder),
                remedy="Free some space, or choose another place with run_dir; "
                "the checkpoint before is good",
            ) from e
        finally:
            if self._throwaway is not None:
                shutil.rmtree(self._throwaway, ignore_errors=True)
        return Path(prefix)

    def distrust(self, step: int) -> None:
        """Set aside the checkpoint of `step`, if there is one: the step after it was not finite.

        Its weights are numbers still, but a run that went on from it would end at once.
        """
        if self._worker == 0 and step in self._files.steps():
            self._files.set_aside(step)
            self._files.write_state()
            self._say(f"ckpt-{step} leads to a loss that is not finite: set aside in {_ASIDE}")

    def _manager_of_group(self) -> tf.train.CheckpointManager:
        """Made at the first save: it takes over the state file as `restore_newest` left it."""
        if self._manager is None:
            self._manager = tf.train.CheckpointManager(
                self._checkpoint,
                str(self._throwaway or self._files.folder),
                max_to_keep=self._keep if self._worker == 0 else 1,
                checkpoint_name="ckpt",
            )
        return self._manager

    def _undo(self, step: int) -> None:
        if self._worker == 0 and step not in self._files.named():
            self._files.remove(step)

    def _require_finite(self, step: int) -> None:
        for weight in self._weights:
            if not bool(tf.reduce_all(tf.math.is_finite(weight))):
                raise DivergedError(
                    f"the weights {weight.name} are no longer finite",
                    place=f"step {step}",
                    remedy="The last checkpoint is from before; "
                    "lower the rate or lengthen the warm-up",
                )


def _from_worker_0(step: int) -> int:
    """The same on all workers: the first replica's number."""
    strategy = tf.distribute.get_strategy()
    if strategy.num_replicas_in_sync == 1:
        return step

    @tf.function
    def told() -> tf.Tensor:
        def mine() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return tf.where(tf.equal(replica, 0), tf.constant(step, tf.int32), 0)

        return strategy.reduce("SUM", strategy.run(mine), axis=None)

    return int(told())
