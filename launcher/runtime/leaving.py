"""How a worker's process ends."""

import contextlib
import os
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import NoReturn

AUTOGRAPH_PREFIX = "__autograph_generated_file"
"""Of the modules that AutoGraph writes into the folder of temporary files and imports from there
(tensorflow/python/autograph/pyct/loader.py, TensorFlow 2.21); it removes them by atexit."""


def say_plainly(text: str) -> None:
    """A line of the log, unless the disk that the log is on is full: what comes after it counts."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def stacks() -> str:
    """Of all threads of Python, as lines. Not by faulthandler, which keeps Python's lock while it
    writes: where the log's disk does not answer no thread would run again, nor end this process."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, newest in sys._current_frames().items():
        lines.append(f"Thread {names.get(ident, ident)} (most recent call first):")
        frame: FrameType | None = newest
        while frame is not None:
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno} in {code.co_name}')
            frame = frame.f_back
    return "\n".join(lines)


def leave(code: int) -> NoReturn:
    """At once: TensorFlow's own shutdown waits for peers that may be gone (25 s, measured)."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    for name, module in list(sys.modules.items()):
        if name.startswith(AUTOGRAPH_PREFIX):
            with contextlib.suppress(OSError):
                Path(str(module.__file__)).unlink()
    os._exit(code)
