"""How far a long command is: a bar on a terminal, otherwise a line now and then."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

LINE_SECONDS = 5.0


class Progress:
    """`with Progress("convert", total) as progress: progress.advance(n)`, on stderr."""

    def __init__(
        self,
        title: str,
        total: int,
        unit: str = "images",
        stream: TextIO | None = None,
        line_seconds: float = LINE_SECONDS,
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._line_seconds = line_seconds
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def advance(self, count: int) -> None:
        self.done += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done)
        elif time.monotonic() - self._last_line >= self._line_seconds:
            self._last_line = time.monotonic()
            self._stream.write(self._line())
            self._stream.flush()

    def _line(self) -> str:
        per_second = self.done / max(time.monotonic() - self._started, 1e-9)
        left = (self.total - self.done) / max(per_second, 1e-9)
        return (
            f"{self.title}: {self.done:,} of {self.total:,} {self.unit},"
            f" {per_second:,.0f} a second, {left:,.0f} s left\n"
        )

    def __enter__(self) -> Self:
        if self._stream.isatty():
            self._bar = _rich_bar(self._stream, self.unit)
            self._task = self._bar.add_task(self.title, total=self.total)
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()


def _rich_bar(stream: TextIO, unit: str) -> "RichProgress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )
