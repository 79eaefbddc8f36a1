"""The checkpoints folder as files: which are whole, and what becomes of those that are not.

records/unfinished.py says in which order TensorFlow writes them.
"""

import contextlib
import time

import tensorflow as tf

from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.records import checkpoint as checkpoint_record
from launcher.records import unfinished
from launcher.storage import is_of_the_disk, write_text

_AGAIN_SECONDS = (0.5, 2.0)


class CheckpointFiles:
    """Only worker 0 changes the folder, before the group has begun or after a save. All that reads
    it raises StorageError where the disk does not answer."""

    def __init__(self, paths: RunPaths) -> None:
        self.folder = paths.checkpoints
        self._damaged = paths.damaged

    def prefix(self, step: int) -> str:
        return str(self.folder / f"ckpt-{step}")

    def steps(self) -> list[int]:
        """Of all that have a file of their own, the newest first."""
        return unfinished.steps(self.folder)

    def named(self) -> list[int]:
        """The steps in the state file, [] when it is gone or no text."""
        return unfinished.named(self.folder)

    def remove(self, step: int) -> None:
        """All of a checkpoint whose save has failed."""
        unfinished.remove_step(self.folder, step)
        unfinished.remove_parts(self.folder)

    def set_aside(self, step: int) -> None:
        """Into `damaged/`: out of the way of training and evaluation, for whoever wants to look."""
        self._damaged.mkdir(exist_ok=True)
        for path in self.folder.glob(f"ckpt-{step}.*"):
            path.replace(self._damaged / path.name)

    def write_state(self) -> None:
        """List what has an index. Called when the newest of them is good."""
        names = set(unfinished.listing(self.folder))
        steps = [step for step in reversed(self.steps()) if f"ckpt-{step}.index" in names]
        if not steps:
            (self.folder / unfinished.STATE_FILE).unlink(missing_ok=True)
            return
        # Names without a folder: a run may be moved.
        times = [(self.folder / f"ckpt-{step}.index").stat().st_mtime for step in steps]
        lines = [f'model_checkpoint_path: "ckpt-{steps[-1]}"']
        lines += [f'all_model_checkpoint_paths: "ckpt-{step}"' for step in steps]
        lines += [f"all_model_checkpoint_timestamps: {time!r}" for time in times]
        lines += ["last_preserved_timestamp: 0.0"]
        write_text(self.folder / unfinished.STATE_FILE, "\n".join(lines) + "\n")


def flaw(prefix: str) -> str | None:
    """Why a checkpoint cannot be read whole; None when it can. Raises StorageError when the disk
    does not give it, nor a moment later: a good one must not be taken for damaged.

    Every value is read, whose sums TensorFlow compares: of 1,500 bits flipped one at a time in a
    data file it noticed all, and of 2,461 in the index all that changed anything (flips in 50
    unused bytes at its end did not).
    """
    for pause in _AGAIN_SECONDS:
        with contextlib.suppress(OSError):
            return _flaw(prefix)
        time.sleep(pause)
    try:
        return _flaw(prefix)
    except OSError as e:
        raise StorageError(
            f"this checkpoint cannot be read now ({e.strerror or e})",
            place=prefix,
            remedy="It stays where it is. See whether its storage answers and this account may "
            "read it; if only this one stays unreadable, move its files away",
        ) from e


def _flaw(prefix: str) -> str | None:
    """Raises OSError where not the files are at fault but the reading of them."""
    if found := checkpoint_record.examine(prefix):
        return found[0]
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    # IndexError, ValueError: how its Python side tells a data file that is cut short.
    except (tf.errors.OpError, IndexError, ValueError) as e:
        if is_of_the_disk(str(e)):
            raise OSError(reason(e)) from e
        return reason(e)
    return None


def reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
