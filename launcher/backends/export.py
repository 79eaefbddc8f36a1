"""`launcher export`: a checkpoint as a SavedModel, by a process of its own in the foreground.

It may run beside the training: it reads one checkpoint, and takes no GPU.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher.backends.processes import child_env, exit_text
from launcher.contract import EXPORTER_MODULE
from launcher.errors import CliExit, RunFailedError, WorkerExit

_TERM_SECONDS = 15.0
_TOLD = {
    WorkerExit.BAD_CONFIG: CliExit.USAGE,
    WorkerExit.BAD_DATA: CliExit.USAGE,
    WorkerExit.STORAGE: CliExit.RUN_FAILED,
}
"""Codes that come with a message of the process itself."""


class ExportRefusedError(RunFailedError):
    """The process has told the user why; nothing more is printed."""

    def __init__(self, code: CliExit) -> None:
        super().__init__("not exported")
        self.cli_exit = code
        self.problems = ()


def export(root: Path, step: int | None, output: Path | None, *, replace: bool) -> Path:
    """The folder that was written. Raises RunFailedError."""
    argv = [sys.executable, "-m", EXPORTER_MODULE, str(root.absolute())]
    if step is not None:
        argv += ["--step", str(step)]
    if output is not None:
        argv += ["--output", str(output.absolute())]
    if replace:
        argv.append("--replace")
    code, said = _run(argv)
    if code == 0:
        return Path(said.strip())
    if code in set(_TOLD):
        raise ExportRefusedError(_TOLD[WorkerExit(code)])
    raise RunFailedError(
        f"the export {exit_text(code)}", place=root.name, remedy="Its messages are above"
    )


def _run(argv: Sequence[str]) -> tuple[int, str]:
    """Its exit code and standard output; standard error is ours. Ctrl-C stops it, too."""
    child = subprocess.Popen(
        argv,
        env=child_env(os.environ, {"CUDA_VISIBLE_DEVICES": "-1"}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = child.communicate()
        return child.returncode, said
    except BaseException:
        child.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_TERM_SECONDS)
        child.kill()
        child.wait()
        raise
