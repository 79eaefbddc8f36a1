"""Which files a data set is: patterns to paths, and the names of shards."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from launcher.errors import DataError
from launcher.records.framing import NOT_THERE, read_error


def shard_name(prefix: str, index: int, shards: int) -> str:
    """`train.record-00003-of-00100`: the OD API's convention."""
    return f"{prefix}.record-{index:05d}-of-{shards:05d}"


def expand(patterns: str | Path | Iterable[str | Path]) -> list[Path]:
    """The files that one or more paths or glob patterns name: sorted, each once.

    Raises DataError for a pattern that matches nothing, matches a folder or may not be looked up,
    StorageError when the disk fails.
    """
    if isinstance(patterns, str | Path):
        patterns = [patterns]
    return sorted({path for pattern in patterns for path in _matches(str(pattern))})


def require_records(paths: Sequence[Path | str]) -> None:
    """Raises DataError when there is no file, or one of them is missing or empty (0 bytes).

    A worker whose only shard is empty would wait for its peers, who wait for it.
    """
    if not paths:
        raise DataError("no record files are named", remedy="Name at least one file or pattern")
    for path in paths:
        try:
            size = Path(path).stat().st_size
        except OSError as e:
            raise read_error(e, path) from e
        if size == 0:
            raise DataError(
                "an empty shard: it has 0 records",
                place=str(path),
                remedy="Convert again with fewer shards than images, or leave the file out",
            )


def file_mode(path: Path | str) -> int | None:
    """`st_mode` of what `path` leads to; None where nothing can be: no such file, a link that leads
    to itself, a name that is too long. Raises what `read_error` makes of anything else."""
    try:
        return Path(path).stat().st_mode
    except ValueError:  # a null byte
        return None
    except OSError as e:
        if e.errno in NOT_THERE:
            return None
        raise read_error(e, path) from e


def _matches(pattern: str) -> list[Path]:
    try:
        return _found(pattern)
    except OSError as e:
        raise read_error(e, pattern) from e


def _found(pattern: str) -> list[Path]:
    # A path that exists is itself, whatever brackets or stars its name has.
    found = [Path(pattern)] if _is_there(pattern) else list(map(Path, glob.glob(pattern)))  # noqa: PTH207
    if not found:
        raise DataError("matches no file", place=pattern, remedy=_nothing_there(pattern))
    for path in found:
        if path.is_dir():
            raise DataError(
                "is a folder, not a record file",
                place=str(path),
                remedy=f"Name the files in it, as {path / '*.record-*'}",
            )
    return found


def _is_there(pattern: str) -> bool:
    try:
        Path(pattern).stat()
    except ValueError:  # a null byte
        return False
    except OSError as e:
        if isinstance(e, FileNotFoundError | NotADirectoryError) or glob.has_magic(pattern):
            return False
        raise
    return True


def _nothing_there(pattern: str) -> str:
    """What the user probably has instead: the nearest folder that exists, and a file of it."""
    if "://" in pattern:
        return "Only files of this machine or of a mounted disk can be read: mount or copy them"
    folder = missing = Path(pattern).parent
    while not folder.is_dir():
        missing, folder = folder, folder.parent
    if missing != folder:
        return f"There is no folder {missing.absolute()}: correct the path"
    files = sorted(p.name for p in folder.iterdir() if p.is_file())
    has = f"has {len(files)} files, such as {files[0]}" if files else "has no files"
    return f"The folder {folder.absolute()} {has}"
