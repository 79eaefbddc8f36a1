"""What a save that was killed leaves in the checkpoints folder, told from a checkpoint.

TensorFlow writes `ckpt-N_temp/`, renames its parts to `ckpt-N.data-*`, writes `ckpt-N.index`,
removes `ckpt-N_temp`, and then the state file `checkpoint` lists N. Every worker but the first does
the same in `.worker-I/`, for nothing but to take part. No TensorFlow here.
"""

import re
import shutil
from pathlib import Path

from launcher.errors import StorageError
from launcher.records import checkpoint
from launcher.storage import read_text, reading

STATE_FILE = "checkpoint"
_THROWAWAY = ".worker-"
_HALF_WRITTEN = re.compile(rf"ckpt-\d+_temp$|.*\.tempstate|{STATE_FILE}\.tmp")
_STEP = re.compile(r"ckpt-(\d+)(?:\.|_temp$)")
_NAMED = re.compile(r'model_checkpoint_paths?: "(?:[^"]*/)?ckpt-(\d+)"')


def throwaway(folder: Path, worker: int) -> Path:
    """Where a worker other than the first saves."""
    return folder / f"{_THROWAWAY}{worker}"


def listing(folder: Path) -> list[str]:
    """The names in it, [] when there is no such folder. Raises StorageError when it cannot be
    read: that is not one without checkpoints."""
    try:
        with reading(folder):
            return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []


def steps(folder: Path) -> list[int]:
    """Of all that have a file of their own, the newest first. Raises StorageError."""
    found = {m[1] for name in listing(folder) if (m := _STEP.match(name)) and "." in name}
    return sorted(map(int, found), reverse=True)


def named(folder: Path) -> list[int]:
    """The steps in the state file, [] when it is gone or no text. Raises StorageError."""
    return sorted(map(int, set(_NAMED.findall(read_text(folder / STATE_FILE) or ""))))


def begun(folder: Path) -> set[int]:
    """Steps whose save may not have come to its end: with a `ckpt-N_temp` still, or no index. What
    the state file names was whole once, and may be damaged by now. Raises StorageError."""
    names = set(listing(folder))
    found = {int(m[1]) for name in names if (m := _STEP.match(name))}
    open_ = {s for s in found if f"ckpt-{s}_temp" in names or f"ckpt-{s}.index" not in names}
    return open_ - set(named(folder)) if open_ else set()


def remove_step(folder: Path, step: int) -> None:
    """All files of a checkpoint that was never finished, its index first: without one it is told
    from a damaged checkpoint. Its `_temp`, which tells that too, stays. Raises StorageError."""
    names = [name for name in listing(folder) if name.startswith(f"ckpt-{step}.")]
    for path in (folder / name for name in sorted(names, reverse=True)):
        try:
            path.unlink(missing_ok=True)
        except OSError as e:
            raise StorageError(
                f"cannot be removed ({e.strerror or e})",
                place=str(path),
                remedy="See whether its storage answers and this account may write there",
            ) from e


def remove_parts(folder: Path) -> list[str]:
    """What nobody can use. Returns the names of what has gone."""
    return [
        name for name in listing(folder) if _HALF_WRITTEN.match(name) and _removed(folder / name)
    ]


def remove_throwaways(folder: Path) -> list[str]:
    """Of the other workers of a group that is gone. Returns the names of what has gone."""
    return [
        name for name in listing(folder) if name.startswith(_THROWAWAY) and _removed(folder / name)
    ]


def clear(folder: Path) -> list[str]:
    """All of it, after a group that is gone: it takes room that the next save needs. Returns the
    names of what was removed. Raises StorageError."""
    return remove_throwaways(folder) + _clear_first(folder)


def clear_own(folder: Path, worker: int) -> list[str]:
    """The same of what this worker itself was writing when it was killed; others may be at work."""
    if worker == 0:
        return _clear_first(folder)
    own = throwaway(folder, worker)
    if own.name not in listing(folder):
        return []
    return [own.name] if _removed(own) else []


def _clear_first(folder: Path) -> list[str]:
    """All but what other workers than the first have written."""
    removed = []
    for step in sorted(begun(folder)):
        prefix = folder / f"ckpt-{step}"
        with reading(prefix):
            flawed = checkpoint.examine(str(prefix)) is not None
        if flawed:
            remove_step(folder, step)
            removed.append(prefix.name)
    return removed + remove_parts(folder)


def _removed(path: Path) -> bool:
    """Whether it has gone. What its disk does not let go only takes room, and stays."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return not path.exists()
    except OSError:
        return False
