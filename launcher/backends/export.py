"""`launcher export`: a checkpoint as a SavedModel, by a process of its own in the foreground.

It may run beside the training: it reads one checkpoint, and takes no GPU.
"""

import sys
from pathlib import Path

from launcher.backends.foreground import RefusedError, running
from launcher.backends.processes import exit_text
from launcher.contract import EXPORTER_MODULE
from launcher.errors import CliExit, RunFailedError, WorkerExit

_TERM_SECONDS = 15.0
_TOLD = {
    WorkerExit.BAD_CONFIG: CliExit.USAGE,
    WorkerExit.BAD_DATA: CliExit.USAGE,
    WorkerExit.STORAGE: CliExit.RUN_FAILED,
}
"""Codes that come with a message of the process itself."""


def export(root: Path, step: int | None, output: Path | None, *, replace: bool) -> Path:
    """The folder that was written. Raises RunFailedError."""
    argv = [sys.executable, "-m", EXPORTER_MODULE, str(root.absolute())]
    if step is not None:
        argv += ["--step", str(step)]
    if output is not None:
        argv += ["--output", str(output.absolute())]
    if replace:
        argv.append("--replace")
    with running(argv, _TERM_SECONDS) as child:
        said, _ = child.communicate()
    code = child.returncode
    if code == 0:
        return Path(said.strip())
    if code in set(_TOLD):
        raise RefusedError(_TOLD[WorkerExit(code)])
    raise RunFailedError(
        f"the export {exit_text(code)}", place=root.name, remedy="Its messages are above"
    )
