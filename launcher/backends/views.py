"""`launcher data view`'s process: the worker's own input, drawn to files, on the CPU."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from launcher.backends.foreground import RefusedError, running
from launcher.backends.processes import exit_text
from launcher.contract import VIEWS_MODULE
from launcher.errors import CliExit, RunFailedError, WorkerExit

_TERM_SECONDS = 5.0
_TOLD = (WorkerExit.BAD_CONFIG, WorkerExit.BAD_DATA)
"""Codes that come with a message of the process itself."""


def draw(pipeline: Path, out: Path, *, draws: int, seed: int, done: Callable[[int], None]) -> None:
    """Fills `out` (runtime/views.py says with what). `done` is told the number of pictures.

    Raises RunFailedError; the reason is on standard error.
    """
    argv = [sys.executable, "-m", VIEWS_MODULE, str(pipeline), str(out)]
    argv += ["--draws", str(draws), "--seed", str(seed)]
    with running(argv, _TERM_SECONDS) as child:
        for line in child.stdout or ():
            with suppress(ValueError, KeyError, TypeError):  # a library that prints
                done(int(json.loads(line)["done"]))
        code = child.wait()
    if code in _TOLD:
        raise RefusedError(CliExit.USAGE)
    if code:
        raise RunFailedError(f"the drawing {exit_text(code)}", remedy="Its messages are above")
