"""Writes TFRecord files: whole, or not at all."""

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from launcher.errors import StorageError, write_remedy
from launcher.records.framing import BUFFER_BYTES, frame_parts


class RecordWriter:
    """Writes a TFRecord file that appears under its name only when the `with` block succeeds.

    With `sync` it is on the disk by then; without, `sync_file` is to be called later. Raises
    StorageError when the place cannot be written or the disk is full.
    """

    def __init__(self, path: Path, *, sync: bool = True) -> None:
        self.path = path
        self.count = 0
        self._sync = sync
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        except OSError as e:
            raise write_error(e, path) from e
        self._temporary = Path(name)
        self._file = os.fdopen(handle, "wb", buffering=BUFFER_BYTES)

    def write(self, record: Any) -> None:
        """One record: bytes, or an Example (written with its features in order of their names)."""
        data = record if isinstance(record, bytes) else record.SerializeToString(deterministic=True)
        self.write_frames(frame_parts([data]), 1)

    def write_frames(self, frames: Iterable[bytes], count: int) -> None:
        """`count` records that `frame_parts` has made already, in another process for instance."""
        try:
            self._file.writelines(frames)
        except OSError as e:
            raise write_error(e, self.path) from e
        self.count += count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._publish()
        finally:
            self._discard()

    def _publish(self) -> None:
        try:
            self._file.flush()
            if self._sync:
                os.fsync(self._file.fileno())
            self._file.close()
            self._temporary.chmod(0o644)
            self._temporary.replace(self.path)
        except OSError as e:
            raise write_error(e, self.path) from e

    def _discard(self) -> None:
        """Closing flushes, and fails again on a full disk: what matters then is the first error."""
        with suppress(OSError):
            self._file.close()
        self._temporary.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Returns when the file's content is on the disk. Raises StorageError."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as e:
        raise write_error(e, path) from e


def write_error(error: OSError, path: Path) -> StorageError:
    return StorageError(
        f"cannot write ({error.strerror or error})",
        place=str(path),
        remedy=write_remedy(error, "write to another folder"),
    )
