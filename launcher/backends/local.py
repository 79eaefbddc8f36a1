"""Runs on this machine: child processes of a supervisor that outlives the command."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.backends import lock, orphans, run_folder
from launcher.backends.base import JobHandle, RunStatus
from launcher.backends.files import write_files
from launcher.backends.lock import RunLock
from launcher.backends.machine import check_gpus, check_training_extra, this_machine
from launcher.backends.patience import cancel_seconds
from launcher.backends.processes import POLL_SECONDS, child_env, free_hosts
from launcher.backends.rescore import rescore
from launcher.backends.status import read_status, true_status, write_last, write_pending
from launcher.contract import Reason, RunPaths, State
from launcher.errors import ConfigError, RunFailedError, StorageError
from launcher.render import local as render
from launcher.storage import storage_error

if TYPE_CHECKING:
    from launcher.planning import Plan

_START_SECONDS = 30.0
_REAP_SECONDS = 10.0
_CANCEL_MARGIN_SECONDS = 60.0
"""Beyond the time that workers have for their checkpoint: the supervisor's own steps."""


class LocalBackend:
    name = "local"

    def where(self, plan: "Plan") -> dict[str, str]:
        return {}

    def folder(self, plan: "Plan") -> Path:
        return plan.root

    def sees_data(self, plan: "Plan") -> bool:
        return True

    def dry_run(self, plan: "Plan") -> dict[str, Any]:
        """The ports are free now; `submit` chooses again just before it starts the workers."""
        return render.local(
            plan, free_hosts(plan.workers), this_machine(), run_folder.next_attempt(plan.root)
        )

    def check(self, plan: "Plan", *, resume: bool = False, replace: bool = False) -> None:
        check_training_extra()
        check_gpus(plan, this_machine())
        run_folder.check_name(plan.root, resume, replace)
        run_folder.check_writable(plan.root)

    def submit(self, plan: "Plan", *, resume: bool = False, replace: bool = False) -> JobHandle:
        self.check(plan, resume=resume, replace=replace)
        job = render.job(plan, this_machine())
        start(job, render.files(plan, job), resume=resume, replace=replace)
        return JobHandle(plan.name, plan.root, self)

    def status(self, root: Path) -> RunStatus:
        status = true_status(root)
        if status.state.ended:
            _reap(root)
        return status

    def cancel(self, root: Path, timeout: float | None = None) -> bool:
        return cancel(root, timeout)

    def delete(self, root: Path) -> bool:
        return delete(root)

    def logs(self, root: Path, *, follow: bool) -> AbstractContextManager[None]:
        """The processes write these files themselves."""
        return contextlib.nullcontext()

    def evaluate(self, root: Path) -> None:
        check_training_extra()
        rescore(root)


BACKEND = LocalBackend()

_supervisors: "dict[Path, subprocess.Popen[bytes]]" = {}
"""Those that this process started: its children, which it has to wait for when they have ended."""


def start(
    job: render.LocalJob,
    files: dict[str, Any],
    *,
    resume: bool = False,
    replace: bool = False,
) -> None:
    """Write the run's folder and start its supervisor; returns when that is at work.

    Raises as Backend.submit does. What was begun is undone then.
    """
    root = job.paths.root
    run_folder.check_name(root, resume, replace)
    held = RunLock.acquire(root)
    if held is None:
        raise run_folder.running_error(root)
    try:
        with contextlib.ExitStack() as undo:
            run_folder.check_name(root, resume, replace, held=True)
            orphans.reap(job.paths)
            if replace:
                run_folder.empty(root)
            if not run_folder.contents(root):
                undo.callback(shutil.rmtree, root, ignore_errors=True)
            attempt = run_folder.next_attempt(root)
            write_files(root, files)
            write_pending(
                root,
                backend=LocalBackend.name,
                attempt=attempt,
                total_steps=job.total_steps,
                before=read_status(root),
            )
            log = _supervisor_log(job.paths, attempt)
            undo.pop_all()
        with log:
            supervisor = subprocess.Popen(
                [*render.supervisor_argv(job), str(held.fd)],
                env=child_env(os.environ, {"PYTHONUNBUFFERED": "1"}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(held.fd,),
                start_new_session=True,
            )
    finally:
        held.release()
    _supervisors[root] = supervisor
    _await_start(supervisor, job.paths, attempt)


def cancel(root: Path, timeout: float | None = None) -> bool:
    """SIGTERM to the supervisor, and wait until all is gone; after `timeout` a second one, which
    does not wait for checkpoints any more. False when the run had ended already."""
    if not lock.is_held(root):
        _reap(root)
        orphans.reap(RunPaths(root))
        return False
    seconds = _patience(root) if timeout is None else timeout
    signalled: int | None = None
    for patience in (seconds, _CANCEL_MARGIN_SECONDS):
        deadline = time.monotonic() + patience
        while lock.is_held(root):
            status = read_status(root)
            pid = status.supervisor_pid if status and not status.state.ended else None
            if pid is not None and signalled is None:
                _terminate(pid)
                signalled = pid
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            _reap(root)
            return True
        signalled = None
    raise RunFailedError(
        "the run does not end",
        place=root.name,
        remedy=f"See `launcher logs {root.name} supervisor`",
    )


def delete(root: Path) -> bool:
    if not os.path.lexists(root):
        return False
    run_folder.check_is_run(root)
    held = RunLock.acquire(root)
    if held is None:
        raise run_folder.running_error(root)
    try:
        orphans.reap(RunPaths(root))
        run_folder.remove(root)
    finally:
        held.release()
    return True


def _supervisor_log(paths: RunPaths, attempt: int) -> Any:
    path = paths.supervisor_log(attempt)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("ab")
    except OSError as e:
        raise storage_error(e, path) from e


def _await_start(supervisor: "subprocess.Popen[bytes]", paths: RunPaths, attempt: int) -> None:
    """Until the supervisor has said that it is at work. Raises RunFailedError."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        status = read_status(paths.root)
        if status is not None and status.supervisor_pid == supervisor.pid:
            return
        if supervisor.poll() is not None:
            break
        time.sleep(0.02)
    log = paths.supervisor_log(attempt)
    with contextlib.suppress(StorageError):
        write_last(
            read_status(paths.root),
            State.FAILED,
            Reason.SUPERVISOR_LOST,
            f"the supervisor did not start: see {log}",
        )
    raise RunFailedError("the supervisor did not start", place=str(log), remedy="See this log")


def _reap(root: Path) -> None:
    """A supervisor that has said its last word leaves at once."""
    if supervisor := _supervisors.pop(root, None):
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(_REAP_SECONDS)


def _patience(root: Path) -> float:
    try:
        job = render.LocalJob.read(root / render.JOB_FILE)
    except ConfigError:
        return _CANCEL_MARGIN_SECONDS
    return cancel_seconds(job) + _CANCEL_MARGIN_SECONDS


def _terminate(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
