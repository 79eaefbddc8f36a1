"""A process that a command waits for, as `export` and `data view` do: on the CPU, ended with it."""

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from launcher.backends.processes import child_env
from launcher.errors import CliExit, RunFailedError


class RefusedError(RunFailedError):
    """The process has told the user why; nothing more is printed."""

    def __init__(self, code: CliExit) -> None:
        super().__init__("refused")
        self.cli_exit = code
        self.problems = ()


@contextmanager
def running(argv: Sequence[str], term_seconds: float) -> "Iterator[subprocess.Popen[str]]":
    """Its standard output is a pipe, standard error is ours. An exception, Ctrl-C too, stops it:
    SIGTERM, and SIGKILL after `term_seconds`."""
    child = subprocess.Popen(
        argv,
        env=child_env(os.environ, {"CUDA_VISIBLE_DEVICES": "-1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield child
    except BaseException:
        child.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(term_seconds)
        child.kill()
        child.wait()
        raise
