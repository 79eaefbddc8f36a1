"""Files that are there whole or not at all: text, JSON, lines of JSON. Standard library only."""

import contextlib
import errno
import json
import os
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from launcher.errors import StorageError, write_remedy

Done = TypeVar("Done")
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EREMOTEIO, errno.ENOTCONN})
"""What a network file system says of a file that may be there at the next try."""
_OF_THE_DISK = tuple(
    os.strerror(number) for number in (*PASSING, errno.EACCES, errno.EMFILE, errno.ENOMEM)
)
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
"""Used as they are: opened anew, a file that a shell appends to would lose what it has."""
RUN_DIR = "choose another place with run_dir"
OUTPUT = "choose another place with -o"
"""What always helps where something cannot be written."""
_TRIES = 3
_AGAIN_SECONDS = 0.05


def write_text(path: Path, text: str, elsewhere: str = RUN_DIR) -> None:
    """Atomically: a reader sees the old file or the new one, never a part.

    Raises StorageError when the disk is full or the place cannot be written, nor a moment later.
    """
    try:
        tried_again(lambda: _write_whole(path, text))
    except OSError as e:
        raise storage_error(e, path, elsewhere) from e


def tried_again(action: Callable[[], Done]) -> Done:
    """What `action` returns, now or a moment later where a network file system's trouble may be
    over by then. Raises its last OSError."""
    for _ in range(1, _TRIES):
        try:
            return action()
        except OSError as e:
            if not passing(e):
                raise
        time.sleep(_AGAIN_SECONDS)
    return action()


def _write_whole(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def write_output(path: Path, text: str) -> None:
    """What a user named with -o: a link stays one and leads to the new text, a device or FIFO gets
    the text; all else as `write_text`. Raises StorageError."""
    held = _STANDARD.get(str(path))
    try:
        if held is None and (not path.exists() or stat.S_ISREG(path.stat().st_mode)):
            target = Path(os.path.realpath(path)) if path.is_symlink() else path
            write_text(target, text, OUTPUT)
            return
        with open(path if held is None else held, "w", closefd=held is None) as file:
            file.write(text)
    except OSError as e:
        raise storage_error(e, path, OUTPUT) from e


def write_json(path: Path, value: Any, elsewhere: str = RUN_DIR) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n", elsewhere)


def discard(path: Path) -> None:
    """Remove a file that says nothing any more; one that its disk does not let go stays."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def is_gone(folder: Path) -> bool:
    """Whether there is no such folder. One whose disk does not answer is not taken for that."""
    try:
        return not stat.S_ISDIR(folder.stat().st_mode)
    except OSError as e:
        return not passing(e)


def read_text(path: Path) -> str | None:
    """None when there is no such file yet. Raises StorageError when it cannot be read, nor a moment
    later."""
    try:
        return tried_again(lambda: path.read_text(errors="replace"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        raise read_error(e, path) from e


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Around what reads `path`, or files in it. Raises StorageError where that fails; a file that
    is missing stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as e:
        raise read_error(e, path) from e


def read_json(path: Path) -> Any:
    """The value, or None when there is no such file yet or it is torn. Raises StorageError."""
    try:
        return json.loads(read_text(path) or "")
    except ValueError:
        return None


def peek_json(path: Path) -> Any:
    """As `read_json`, for who looks again soon and does not mind: None also while the file cannot
    be read."""
    try:
        return read_json(path)
    except StorageError:
        return None


def append_jsonl(path: Path, value: Mapping[str, Any]) -> None:
    """One line in one write, so that a reader never sees half of a line before another. One that
    a full disk or a killed writer left torn is ended first: it stays the only one that is lost."""
    line = json.dumps(value).encode() + b"\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if size := file.seek(0, os.SEEK_END):
                file.seek(size - 1)
                line = line if file.read(1) == b"\n" else b"\n" + line
            file.write(line)
    except OSError as e:
        raise storage_error(e, path) from e


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All whole lines that are objects; others are passed over, as a torn last line that a killed
    writer leaves. Raises StorageError."""
    rows = []
    for line in (read_text(path) or "").split("\n"):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def is_passing(error: StorageError) -> bool:
    """A network file system's trouble, which may be over at the next try: for who tries again."""
    return isinstance(error.__cause__, OSError) and passing(error.__cause__)


def passing(error: OSError) -> bool:
    """The same of the system's own error."""
    return error.errno in PASSING


def is_of_the_disk(message: str) -> bool:
    """Whether an error that TensorFlow tells in words is of the reading of files, and not of what
    is in them."""
    return any(text in message for text in _OF_THE_DISK)


@contextlib.contextmanager
def answering(root: Path) -> Iterator[None]:
    """Around all that a process of the run at `root` does. Raises StorageError where a network file
    system does not answer, wherever that shows; all other errors stay what they are."""
    try:
        yield
    except OSError as e:
        if not passing(e):
            raise
        raise StorageError(
            e.strerror or str(e),
            place=str(e.filename or root),
            remedy="See whether this storage answers",
        ) from e


def leave_within(seconds: float, code: int) -> threading.Timer:
    """This process ends at the latest then, at once and without a word, whatever its threads wait
    for: its last words may go to a disk that does not answer. Cancel it when they are said."""
    timer = threading.Timer(seconds, os._exit, [code])
    timer.daemon = True
    with contextlib.suppress(RuntimeError):  # the system gives no more threads
        timer.start()
    return timer


def read_error(error: OSError, path: Path) -> StorageError:
    """The one message for anything that cannot be read."""
    return StorageError(
        f"cannot read ({error.strerror or error})",
        place=str(path),
        remedy="See whether its storage answers and this account may read it, and try again",
    )


def storage_error(error: OSError, path: Path, elsewhere: str = RUN_DIR) -> StorageError:
    """The one message for anything that cannot be written."""
    return StorageError(
        f"cannot write ({error.strerror or error})",
        place=str(path),
        remedy=write_remedy(error, elsewhere),
    )
