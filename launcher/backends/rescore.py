"""`launcher evaluate`: the newest checkpoint of a run that has ended, scored in the foreground."""

import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher.backends import orphans, run_folder
from launcher.backends.base import RunStatus
from launcher.backends.lock import RunLock, Work
from launcher.backends.processes import child_env, exit_text
from launcher.backends.status import true_status, write_status
from launcher.contract import Reason, RunPaths, State
from launcher.errors import RunFailedError, UsageError
from launcher.render import local as render
from launcher.render.supervised import Process
from launcher.report.results import read_results

_TERM_SECONDS = 15.0


def rescore(root: Path) -> None:
    """Raises UsageError while the run goes on, RunFailedError when the evaluator fails."""
    score_again(root, true_status(root), lambda status: run_here(_process(root, status)))


def score_again(root: Path, status: RunStatus, score: Callable[[RunStatus], int]) -> None:
    """`score` runs the evaluator and returns its exit code. `status` is from before the lock is
    ours, which a reader of a local run takes for a supervisor."""
    held = RunLock.acquire(root, Work.EVALUATE)
    if held is None and status.state.ended:
        raise run_folder.running_error(root)
    if held is None or not status.state.ended:
        if held:
            held.release()
        raise UsageError(
            f"is {status.state}: its own evaluator scores the checkpoints",
            place=root.name,
            remedy=f"Wait for it, or stop it with `launcher cancel {root.name}`",
        )
    try:
        orphans.reap(RunPaths(root))
        write_status(status)  # a lost supervisor left RUNNING there, which the evaluator reads
        code = score(status)
        if code != 0:
            raise RunFailedError(
                f"the evaluator {exit_text(code)}",
                place=root.name,
                remedy="Its messages are above",
            )
        results = read_results(RunPaths(root), root.name, status.state)
        final, last = results.final, results.total_steps
        if final is not None and 0 < last <= final["step"]:
            write_status(replace(status, state=State.SUCCEEDED, reason=Reason.SCORED, message=""))
    finally:
        held.release()


def _process(root: Path, status: RunStatus) -> Process:
    job = render.LocalJob.read(root / render.JOB_FILE)
    process = render.evaluator(job, status.attempt, os.getpid())
    if process is None:
        raise UsageError("has no evaluator", place=root.name)
    return replace(process, argv=(*process.argv, "--once"))


def run_here(process: Process) -> int:
    """Its exit code. Ctrl-C stops it, too."""
    child = subprocess.Popen(
        process.argv,
        env=child_env(os.environ, process.env),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait()
    except BaseException:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(_TERM_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
