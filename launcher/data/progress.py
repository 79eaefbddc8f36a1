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
        quiet_seconds: float = 0.0,
    ) -> None:
        """Nothing is shown within `quiet_seconds`: not everything short is worth a bar."""
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0
        self._stream = stream or sys.stderr
        self._line_seconds = line_seconds
        self._quiet_seconds = quiet_seconds
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self._started < self._quiet_seconds:
            return
        if self._bar is None:
            self._show_bar()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done)
        elif now - self._last_line >= self._line_seconds:
            self._last_line = now
            self._stream.write(self._line())
            self._stream.flush()

    def _line(self) -> str:
        per_second = self.done / max(time.monotonic() - self._started, 1e-9)
        left = (self.total - self.done) / max(per_second, 1e-9)
        return (
            f"{self.title}: {self.done:,} of {self.total:,} {self.unit},"
            f" {per_second:,.0f} a second, {left:,.0f} s left\n"
        )

    def _show_bar(self) -> None:
        if self._stream.isatty():
            self._bar = _rich_bar(self._stream, self.unit)
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done)
            self._bar.start()

    def __enter__(self) -> Self:
        if not self._quiet_seconds:
            self._show_bar()
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
