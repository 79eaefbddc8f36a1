"""The end of a run on Ray: cancel, delete, and what a driver that is gone has left behind."""

import contextlib
import os
import time
from pathlib import Path

from launcher.backends import run_folder
from launcher.backends.lock import RunLock, Work
from launcher.backends.patience import cancel_seconds
from launcher.backends.ray import channel, head, leftovers
from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError
from launcher.backends.ray.truth import address_of, ray_status
from launcher.backends.status import read_status, write_last
from launcher.contract import Reason, State
from launcher.errors import ConfigError, LauncherError, RunFailedError, UnreachableError
from launcher.render import ray as render

_POLL_SECONDS = 0.3
_MARGIN_SECONDS = 60.0
_LEAVE_SECONDS = 30.0


def cancel(root: Path, timeout: float | None = None) -> bool:
    """Ask the driver to save and stop, by its own channel; after `timeout` to stop at once; at the
    end Ray stops its job. Returns when all is gone. False when it had ended already."""
    if ray_status(root).state.ended:
        end_leftovers(root)
        return False
    job = render.RayJob.read(root / render.JOB_FILE)
    seconds = cancel_seconds(job) + _MARGIN_SECONDS if timeout is None else timeout
    for times, patience in ((1, seconds), (2, _MARGIN_SECONDS)):
        channel.ask_to_stop(root, job.submission, times)
        if not _has_started(root):
            patience = min(patience, 5.0)  # no driver is there to answer
        if _ends(root, patience):
            break
    _stop_job(job)
    if not _ends(root, _LEAVE_SECONDS):
        raise RunFailedError(
            "the run does not end",
            place=root.name,
            remedy=f"See `launcher logs {root.name} supervisor`, and the dashboard",
        )
    _note_cancelled(root)
    end_leftovers(root)
    return True


def delete(root: Path) -> bool:
    """Raises UsageError while it runs."""
    if not os.path.lexists(root):
        return False
    run_folder.check_is_run(root)
    now = ray_status(root)
    if not now.state.ended:
        raise run_folder.running(now)
    end_leftovers(root)
    held = RunLock.acquire(root, Work.DELETE)
    if held is None:
        raise run_folder.running(now)
    try:
        run_folder.remove(root)
    finally:
        held.release()
    return True


def end_leftovers(root: Path) -> None:
    """Of a run that has ended: jobs that outlived it, a Ray of its own, workers of this machine.

    A cluster that does not answer has none, or ends them itself.
    """
    with contextlib.suppress(ConfigError):
        job = render.RayJob.read(root / render.JOB_FILE)
        _stop_job(job)
        if job.own:
            head.await_end(root)
    leftovers.end(root)


def _stop_job(job: render.RayJob) -> None:
    address = address_of(job)
    if not address or (job.own and not head.is_alive(job.paths.root)):
        return
    dashboard = Dashboard(address, seconds=3.0)
    evaluator = str(mapping(Channel(job.paths.root).evaluator).get("submission", ""))
    for submission in filter(None, (job.submission, evaluator)):
        with contextlib.suppress(UnreachableError, NotThereError):
            deadline = time.monotonic() + _LEAVE_SECONDS
            while dashboard.job(submission).get("status") not in ENDED:
                dashboard.stop(submission)
                if time.monotonic() > deadline:
                    break
                time.sleep(_POLL_SECONDS)


def _has_started(root: Path) -> bool:
    return ray_status(root).supervisor_pid is not None


def _ends(root: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not ray_status(root).state.ended:
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _note_cancelled(root: Path) -> None:
    """A driver that never came to say so, or was killed while it saved, has been cancelled too."""
    with contextlib.suppress(LauncherError):
        write_last(read_status(root), State.CANCELLED, Reason.CANCELLED)
