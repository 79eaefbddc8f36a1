"""A checkpoint that is of no run, scored by the evaluator in the foreground: `launcher baseline`.

The evaluator knows folders of runs. So it is given one: the plan's files, and the checkpoint's
under the name of step 0, as links.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.backends.machine import this_machine
from launcher.backends.processes import child_env, exit_text
from launcher.contract import RunPaths
from launcher.errors import ConfigError, DataError, LauncherError, RunFailedError, WorkerExit
from launcher.render import local as render
from launcher.run_record import read_score_rows
from launcher.storage import peek_json, storage_error

if TYPE_CHECKING:
    from launcher.planning import Plan

STEP = 0
_TERM_SECONDS = 15.0
_REFUSED: dict[int, type[LauncherError]] = {
    WorkerExit.BAD_CONFIG: ConfigError,
    WorkerExit.BAD_DATA: DataError,
}


def score_once(plan: "Plan", prefix: str, say: Callable[[str], None]) -> dict[str, Any]:
    """The row of eval.jsonl: `prefix` scored on the plan's val records, in the folder `plan.root`,
    which is made anew. `say` gets the evaluator's lines.

    Raises ConfigError when the checkpoint is of another model, DataError, RunFailedError.
    """
    paths = RunPaths(plan.root)
    link = _fill(plan, paths, prefix)
    job = render.job(plan, this_machine())
    # Nothing trains meanwhile: the evaluator may have a GPU of the workers.
    job = replace(job, evaluator_gpus=this_machine().gpus[:1] if plan.gpus_per_worker else ())
    process = render.evaluator(job, 0, os.getpid())
    if process is None:
        raise RunFailedError("has no evaluator", place=plan.name)
    code = _run([*process.argv, "--step", str(STEP)], process.env, say)
    rows = read_score_rows(paths)
    if code == 0 and rows:
        return rows[-1]
    told = peek_json(paths.failure("evaluator"))
    message = str(told["message"]) if isinstance(told, dict) else f"the evaluator {exit_text(code)}"
    raise _REFUSED.get(code, RunFailedError)(message.replace(str(link), prefix))


def _fill(plan: "Plan", paths: RunPaths, prefix: str) -> Path:
    """The link's path without .index."""
    link = paths.checkpoints / f"ckpt-{STEP}"
    try:
        shutil.rmtree(paths.root, ignore_errors=True)
        paths.checkpoints.mkdir(parents=True)
        source = Path(prefix)
        for file in source.parent.iterdir():
            end = file.name.removeprefix(source.name)
            if end != file.name and end.startswith((".index", ".data-")):
                link.with_name(f"{link.name}{end}").symlink_to(file.resolve())
    except OSError as e:
        raise storage_error(e, paths.root) from e
    plan.write(paths.root)
    return link


def _run(argv: list[str], env: Any, say: Callable[[str], None]) -> int:
    """Its exit code. Ctrl-C stops it, too."""
    child = subprocess.Popen(
        argv,
        env=child_env(os.environ, env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        for line in child.stderr or ():
            say(line.rstrip("\n"))
        return child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _TERM_SECONDS
        while child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with suppress(ProcessLookupError):
            child.kill()
        child.wait()
        raise
