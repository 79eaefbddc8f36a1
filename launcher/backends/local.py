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

from launcher.backends import orphans, run_folder, stopping
from launcher.backends.base import JobHandle, RunStatus
from launcher.backends.files import with_check, write_files
from launcher.backends.lock import RunLock, Work
from launcher.backends.machine import check_gpus, check_training_extra, this_machine
from launcher.backends.processes import child_env, free_hosts
from launcher.backends.rescore import rescore
from launcher.backends.status import read_status, true_status, write_last, write_pending
from launcher.contract import Reason, RunPaths, State
from launcher.errors import RunFailedError, StorageError
from launcher.render import local as render
from launcher.run_record import begin_again
from launcher.storage import is_passing, storage_error

if TYPE_CHECKING:
    from launcher.planning import Plan

_START_SECONDS = 120.0
"""A Python whose packages lie on a network file system takes long to import them the first time."""
_REAP_SECONDS = 10.0


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

    def submit(
        self,
        plan: "Plan",
        *,
        resume: bool = False,
        replace: bool = False,
        found: dict[str, Any] | None = None,
    ) -> JobHandle:
        self.check(plan, resume=resume, replace=replace)
        job = render.job(plan, this_machine())
        files = with_check(render.files(plan, job), found)
        start(job, files, resume=resume, replace=replace)
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

    Raises as Backend.submit does. What was begun is undone then, and nothing goes on.
    """
    root = job.paths.root
    run_folder.check_name(root, resume, replace)
    held = RunLock.acquire(root, Work.SUBMIT)
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
            begin_again(job.paths)
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
    try:
        _await_start(supervisor, job.paths, attempt)
    except BaseException as e:
        _end(supervisor, root, str(e) or "interrupted while it started")
        raise


def cancel(root: Path, timeout: float | None = None) -> bool:
    """As stopping.cancel."""
    was_running = stopping.cancel(root, timeout)
    _reap(root)
    return was_running


def delete(root: Path) -> bool:
    if not os.path.lexists(root):
        return False
    run_folder.check_is_run(root)
    held = RunLock.acquire(root, Work.DELETE)
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
    """Until the supervisor has said that it is at work. Raises RunFailedError, or StorageError when
    what it said cannot be read."""
    deadline = time.monotonic() + _START_SECONDS
    late = ""
    while not late:
        left = supervisor.poll() is not None
        if time.monotonic() > deadline:
            late = f" within {_START_SECONDS:g} s"
        try:
            status = read_status(paths.root)
        except StorageError as e:
            if late or left or not is_passing(e):
                raise
            continue
        if status is not None and status.supervisor_pid == supervisor.pid:
            return
        if left:
            break
        time.sleep(0.02)
    log = paths.supervisor_log(attempt)
    what = f"the supervisor did not start{late}"
    raise RunFailedError(what, place=str(log), remedy="See this log")


def _end(supervisor: "subprocess.Popen[bytes]", root: Path, why: str) -> None:
    """Of one that did not start well: it may be at work by now, and stops its processes then."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(supervisor.pid, number)  # it leads a session of its own
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(_REAP_SECONDS)
            break
    _supervisors.pop(root, None)
    with contextlib.suppress(StorageError):
        stopping.end_leftovers(root)
        write_last(read_status(root), State.FAILED, Reason.SUPERVISOR_LOST, why)


def _reap(root: Path) -> None:
    """A supervisor that has said its last word leaves at once."""
    if supervisor := _supervisors.pop(root, None):
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(_REAP_SECONDS)
