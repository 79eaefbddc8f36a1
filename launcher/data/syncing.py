"""Files on the disk, and not only in the system's memory, by the time that they are announced."""

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from launcher.records import sync_file


class Syncing:
    """`with Syncing() as syncing: ... syncing.add(path)`: all of them are on the disk at its end.

    In a thread of its own: the disk writes one file while the processes make the next ones. Raises
    StorageError at the end of the block.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._files: list[Future[None]] = []

    def add(self, path: Path) -> None:
        """A file that is complete."""
        self._files.append(self._thread.submit(sync_file, path))

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
                for file in self._files:
                    file.result()
        finally:
            self._thread.shutdown(cancel_futures=True)
