"""The checkpoints folder as files: which are whole, what is left of a broken save, what is bad.

TensorFlow writes `ckpt-N_temp/`, renames its parts to `ckpt-N.data-*`, then writes `ckpt-N.index`,
then the state file `checkpoint` that lists the newest ones. Each of these may be missing or cut.
"""

import re
import shutil
from pathlib import Path

import tensorflow as tf

from launcher.contract import RunPaths
from launcher.records import checkpoint as checkpoint_record
from launcher.storage import write_text

STATE_FILE = "checkpoint"
_STEP = re.compile(r"ckpt-(\d+)(?:\.|_temp$)")
_NAMED = re.compile(r'model_checkpoint_paths?: "(?:[^"]*/)?ckpt-(\d+)"')
_HALF_WRITTEN = ("ckpt-*_temp", "*.tempstate*", f"{STATE_FILE}.tmp*")


class CheckpointFiles:
    """Only worker 0 changes the folder, before the group has begun or after a save."""

    def __init__(self, paths: RunPaths) -> None:
        self.folder = paths.checkpoints
        self._damaged = paths.damaged

    def prefix(self, step: int) -> str:
        return str(self.folder / f"ckpt-{step}")

    def steps(self) -> list[int]:
        """Of all that have a file of their own, the newest first."""
        found = {m[1] for path in self.folder.glob("ckpt-*.*") if (m := _STEP.match(path.name))}
        return sorted(map(int, found), reverse=True)

    def named(self) -> list[int]:
        """The steps in the state file, [] when it is gone or no text."""
        try:
            text = (self.folder / STATE_FILE).read_text(errors="replace")
        except OSError:
            return []
        return sorted(map(int, set(_NAMED.findall(text))))

    def remove_half_written(self) -> list[str]:
        """What a save left that was killed or had no room. Nobody can use it. Returns the names."""
        found = sorted(p for pattern in _HALF_WRITTEN for p in self.folder.glob(pattern))
        for path in found:
            _remove(path)
        return [path.name for path in found]

    def remove(self, step: int) -> None:
        """All of a checkpoint whose save has failed."""
        for path in (*self.folder.glob(f"ckpt-{step}.*"), *self.folder.glob(f"ckpt-{step}_temp")):
            _remove(path)
        self.remove_half_written()

    def set_aside(self, step: int) -> None:
        """Into `damaged/`: out of the way of training and evaluation, for whoever wants to look."""
        self._damaged.mkdir(exist_ok=True)
        for path in self.folder.glob(f"ckpt-{step}.*"):
            path.replace(self._damaged / path.name)

    def write_state(self) -> None:
        """List what has an index. Called when the newest of them is good."""
        steps = sorted(step for step in self.steps() if Path(f"{self.prefix(step)}.index").exists())
        if steps == self.named():
            return
        if not steps:
            (self.folder / STATE_FILE).unlink(missing_ok=True)
            return
        # Names without a folder: a run may be moved. The manager keeps those for ever that are not
        # younger than the last preserved one.
        times = [(self.folder / f"ckpt-{step}.index").stat().st_mtime for step in steps]
        lines = [f'model_checkpoint_path: "ckpt-{steps[-1]}"']
        lines += [f'all_model_checkpoint_paths: "ckpt-{step}"' for step in steps]
        lines += [f"all_model_checkpoint_timestamps: {time!r}" for time in times]
        lines += [f"last_preserved_timestamp: {min(times) - 1!r}"]
        write_text(self.folder / STATE_FILE, "\n".join(lines) + "\n")


def flaw(prefix: str) -> str | None:
    """Why a checkpoint cannot be read whole; None when it can.

    Every value is read, whose sums TensorFlow compares: of 1,500 bits flipped one at a time in a
    data file it noticed all, and of 2,461 in the index all that changed anything (flips in 50
    unused bytes at its end did not).
    """
    if found := checkpoint_record.flaw(prefix):
        return found[0]
    try:
        reader = tf.train.load_checkpoint(prefix)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    # IndexError, ValueError: how its Python side tells a data file that is cut short.
    except (tf.errors.OpError, IndexError, ValueError) as e:
        return reason(e)
    return None


def reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
