"""Progress: lines for a log file, a bar for a terminal."""

import io
import os
import pty
from contextlib import suppress

from launcher.data.progress import Progress


def test_lines_now_and_then() -> None:
    log = io.StringIO()
    with Progress("convert", 2000, stream=log, line_seconds=0) as progress:
        progress.advance(500)
        progress.advance(1500)
    lines = log.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("convert: 500 of 2,000 images, ")
    assert lines[1].startswith("convert: 2,000 of 2,000 images, ")
    assert lines[1].endswith(" 0 s left")


def test_a_short_work_says_nothing() -> None:
    log = io.StringIO()
    with Progress("convert", 20, stream=log) as progress:
        progress.advance(20)
    assert log.getvalue() == ""


def read_all(terminal: int) -> str:
    """What was written to the other end, which is closed: Linux says so by an error."""
    shown = b""
    with suppress(OSError):
        while part := os.read(terminal, 100_000):
            shown += part
    os.close(terminal)
    return shown.decode()


def test_a_bar_on_a_terminal() -> None:
    reader, writer = pty.openpty()
    with os.fdopen(writer, "w") as terminal, Progress("convert", 20, stream=terminal) as progress:
        progress.advance(20)
    shown = read_all(reader)
    assert "convert" in shown
    assert "20/20" in shown
