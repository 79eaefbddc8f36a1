"""Standard streams that are closed, or that nobody reads any more."""

import io
import os
import sys
from typing import Any, TextIO


class ReaderGoneError(Exception):
    """Nobody reads what is printed."""


def prepare() -> None:
    """Before anything is printed or opened: a closed stream becomes /dev/null, which also keeps a
    file of the launcher from becoming the stdout of its processes. Of what is printed for a reader
    that has gone, as `| head -1`, the rest goes nowhere: the exit code is the command's own,
    however fast either of them was."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            to_nowhere(number)
            stream = open(number, "w" if number else "r", closefd=False)  # noqa: SIM115
            setattr(sys, name, stream)
        if number:
            setattr(sys, name, _forgiving(stream))


def end_with_reader() -> None:
    """For a command that prints for as long as it is read: ReaderGoneError ends it."""
    _Output.forgives = False


def to_nowhere(number: int) -> None:
    """Make /dev/null of it, also for child processes."""
    null = os.open(os.devnull, os.O_RDWR)
    if null == number:  # it was closed
        os.set_inheritable(number, True)
        return
    os.dup2(null, number)
    os.close(null)


def _forgiving(stream: TextIO) -> TextIO:
    """The same stream over `_Output`. What its encoding does not have, as of a file's name that is
    not UTF-8, is printed as \\udcff: no command ends at it."""
    buffered = io.BufferedWriter(_Output(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(
        buffered,
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=bool(stream.line_buffering),
        write_through=getattr(stream, "write_through", False),
    )


class _Output(io.FileIO):
    forgives = True

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            to_nowhere(self.fileno())
            if not _Output.forgives:
                raise ReaderGoneError from None
            return memoryview(data).nbytes
