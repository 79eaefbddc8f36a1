"""A folder that appears complete or not at all."""

import fcntl
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from fnmatch import fnmatch
from glob import escape
from pathlib import Path
from types import FrameType

from launcher.errors import StorageError, UsageError, write_remedy
from launcher.records import write_error

LABEL_MAP = "label_map.pbtxt"
SHAPES_MANIFEST = "shapes.json"
CLEAN_REPORT = "clean.json"
OUR_FILES = ("*.record-?????-of-?????", LABEL_MAP, SHAPES_MANIFEST, CLEAN_REPORT)
"""What a data set folder of this program holds: `force` deletes nothing else."""


_TRIES = 100
_NO_SPACE = "Free some space, or write to another folder"


class FolderExistsError(UsageError):
    """The folder is there already, and was not to be replaced."""


@contextmanager
def complete_folder(
    out: Path, *, force: bool = False, inputs: Iterable[Path] = ()
) -> Iterator[Path]:
    """A new folder beside `out` to write into, renamed to `out` when the block succeeds.

    On an error, Ctrl-C or SIGTERM it is removed, and so are parents that were made for it; what a
    SIGKILL left is removed by the next call for the same `out`. Raises UsageError when `out` has
    one of `inputs`, which are what is read for it; FolderExistsError when `out` has files and
    `force` is not set, or when it has files that this program did not write; StorageError when it
    cannot be written.
    """
    out = Path(os.path.realpath(out))  # Path.resolve raises at a link that leads to itself
    _keep_inputs(out, inputs)
    _refuse_existing(out, force)
    made_parents = [parent for parent in out.parents if not parent.exists()]
    with _sigterm_as_exit():
        try:
            _remove_leftovers(out)
            temporary, lock = _make_temporary(out)
            try:
                yield temporary
                _publish(temporary, out, force)
            except StorageError as e:
                # The user knows `out`; the temporary folder is gone when he reads this.
                problem = e.problems[0]
                place = problem.place.replace(str(temporary), str(out))
                raise StorageError(problem.what, place=place, remedy=_remedy(e)) from e
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
                os.close(lock)
        except BaseException:
            for parent in made_parents:
                with suppress(OSError):
                    parent.rmdir()
            raise


def _keep_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Also those that `out` has, or that lead into it, by a link."""
    for path in inputs:
        named = Path(os.path.realpath(path.parent)) / path.name
        real = Path(os.path.realpath(path))
        if any(out in (one, *one.parents) for one in (named, real)):
            raise UsageError(
                f"holds what is read, {path.name}, and would be replaced",
                place=str(out),
                remedy="Choose another folder",
            )


def _refuse_existing(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError("is a file, not a folder", place=str(out), remedy="Choose another folder")
    names = sorted(path.name for path in out.iterdir())
    foreign = [n for n in names if not any(fnmatch(n, pattern) for pattern in OUR_FILES)]
    if foreign:
        raise FolderExistsError(
            f"exists and holds files of something else, such as {foreign[0]}",
            place=str(out),
            remedy="Choose a folder that does not exist yet",
        )
    if names and not force:
        raise FolderExistsError(
            f"exists already, with {len(names)} files such as {names[0]}",
            place=str(out),
            remedy="Choose another folder (each conversion has one of its own), or replace this "
            "one with --force",
        )


def _make_temporary(out: Path) -> tuple[Path, int]:
    """The folder and a file descriptor that holds its lock as long as its maker lives."""
    for _ in range(_TRIES):
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=_prefix(out)))
        except OSError as e:
            raise write_error(e, out) from e
        # Before it is locked, another process may take it for a left-over: then make another.
        with suppress(FileNotFoundError):
            lock = os.open(temporary, os.O_RDONLY)
            if _lock(lock) is not Lock.ANOTHERS and temporary.exists():
                temporary.chmod(0o755)
                return temporary, lock
            os.close(lock)
    raise StorageError("cannot keep a temporary folder", place=str(out.parent), remedy=_NO_SPACE)


def _remedy(error: StorageError) -> str:
    cause = error.__cause__
    elsewhere = "write to another folder"
    return write_remedy(cause, elsewhere) if isinstance(cause, OSError) else _NO_SPACE


def _prefix(out: Path) -> str:
    return f".{out.name}.making-"


def _remove_leftovers(out: Path) -> None:
    """Folders whose makers are gone: the system has dropped their locks."""
    for path in out.parent.glob(f"{escape(_prefix(out))}*"):
        with suppress(OSError):
            lock = os.open(path, os.O_RDONLY)
            try:
                if _lock(lock) is Lock.OURS:
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


class Lock(Enum):
    OURS = auto()
    ANOTHERS = auto()
    UNKNOWN = auto()  # the file system has no locks: nothing is ever swept


def _lock(handle: int) -> Lock:
    """Takes the lock of an open folder unless another process has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Lock.ANOTHERS
    except OSError:
        return Lock.UNKNOWN
    return Lock.OURS


def _publish(temporary: Path, out: Path, force: bool) -> None:
    old = _set_aside(out) if force and out.exists() else None
    try:
        temporary.rename(out)
    except OSError as e:
        if out.is_dir() and any(out.iterdir()):
            raise FolderExistsError(
                "was made by another process meanwhile", place=str(out), remedy="Use that one"
            ) from e
        raise write_error(e, out) from e
    finally:
        if old and not out.exists():
            old.rename(out)
    if old:
        shutil.rmtree(old, ignore_errors=True)


def _set_aside(out: Path) -> Path:
    """Not under the prefix of left-overs: a kill at this moment must not lose what was there."""
    try:
        old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old-"))
        return out.rename(old)
    except OSError as e:
        raise write_error(e, out) from e


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does, instead of ending the process on the spot."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
