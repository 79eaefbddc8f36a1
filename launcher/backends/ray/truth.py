"""What became of a run on Ray: its folder and the cluster, asked together.

The driver writes status.json once a second. When that has not ended and the cluster says that the
driver's job has, or knows no such job because its head restarted, the driver is gone.
"""

import contextlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.backends.base import RunStatus
from launcher.backends.ray.channel import Channel
from launcher.backends.ray.head import is_alive as keeper_is_alive
from launcher.backends.ray.head import is_elsewhere
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError
from launcher.backends.ray.words import lost_message, refused
from launcher.backends.status import read_status, with_progress
from launcher.contract import Reason, RunPaths, State
from launcher.errors import ConfigError, UnreachableError
from launcher.render import ray as render
from launcher.storage import read_json

_SILENT_SECONDS = 60.0
"""Of a status that is written once a second, while the cluster does not answer."""
_START_SECONDS = 120.0
"""Between writing the folder and the driver's first word: Ray unpacks our package meanwhile."""


def ray_status(root: Path) -> RunStatus:
    """One request to the cluster for a run that has not ended, none for one that has."""
    status = read_status(root)
    if status is None:
        status = RunStatus(root.name, root, State.PENDING, Reason.SUBMITTED, backend="ray")
    if not status.state.ended:
        status = _asked(root, status)
    return with_progress(root, status)


def address_of(job: render.RayJob) -> str:
    """Of a given cluster, or of the run's own once it has started; else empty. Raises StorageError
    when nobody can tell: a Ray whose address cannot be read has not ended."""
    if job.address:
        return job.address
    head = read_json(Channel(job.paths.root).head)
    return str(head.get("address", "")) if isinstance(head, dict) else ""


def is_current(job: render.RayJob) -> bool:
    """Whether the folder is still that submission's."""
    with contextlib.suppress(ConfigError):
        found = render.RayJob.read(job.paths.root / render.JOB_FILE)
        return found.submission == job.submission
    return False


def driver_is_gone(job: render.RayJob, dashboard: Dashboard) -> bool:
    """Whether its job has ended, or is not known. Raises UnreachableError."""
    try:
        return dashboard.job(job.submission).get("status") in ENDED
    except NotThereError:
        return True


def _asked(root: Path, status: RunStatus) -> RunStatus:
    try:
        job = render.RayJob.read(root / render.JOB_FILE)
    except ConfigError:
        return _lost(status, "its ray.json cannot be read")
    address = address_of(job)
    if not address:  # its own Ray is starting
        return _unless_late(root, status, job)
    if job.own and is_elsewhere(root):
        note = "its Ray is on another machine, and does not answer this one"
        return _silent(root, status, job) or replace(status, message=status.message or note)
    try:
        told = Dashboard(address).job(job.submission)
    except NotThereError:
        told = None
    except UnreachableError as e:
        return _unanswered(root, status, job, e)
    again = read_status(root)  # its last word may have come between the two looks
    if again is not None and again.state.ended:
        return again
    if told is None:
        return _unless_late(root, status, job)
    if told.get("status") in ENDED:
        return _ended(status, told)
    return again or status


def _ended(status: RunStatus, told: dict[str, Any]) -> RunStatus:
    if told.get("status") == "STOPPED":
        return replace(
            status,
            state=State.CANCELLED,
            reason=Reason.CANCELLED,
            message="its job was stopped with Ray's own means; `launcher submit SPEC --resume` "
            "continues it from the last checkpoint",
        )
    if refusal := refused(told):
        return replace(status, state=State.FAILED, reason=Reason.BAD_CONFIG, message=refusal)
    why = str(told.get("message") or "").strip()
    return _lost(status, f"Ray says: {why}"[:600] if why else "")


def _lost(status: RunStatus, why: str = "") -> RunStatus:
    message = lost_message(status.state)
    return replace(
        status,
        state=State.FAILED,
        reason=Reason.SUPERVISOR_LOST,
        message=f"{message}. {why}" if why else message,
    )


def _unless_late(root: Path, status: RunStatus, job: render.RayJob) -> RunStatus:
    """The cluster knows no such job: not yet, when the folder was written a moment ago."""
    starting = status.state is State.PENDING and status.supervisor_pid is None
    fresh = _seconds_since(RunPaths(root).status) < _START_SECONDS
    if starting and fresh and (not job.own or keeper_is_alive(root) or not address_of(job)):
        return status
    return _lost(status)


def _unanswered(
    root: Path, status: RunStatus, job: render.RayJob, error: UnreachableError
) -> RunStatus:
    """The folder's word counts, while the driver writes it."""
    if job.own and not keeper_is_alive(root):
        again = read_status(root)
        return again if again is not None and again.state.ended else _lost(status)
    if lost := _silent(root, status, job):
        return lost
    note = f"the cluster does not answer ({error.problems[0].place}: {error.problems[0].what})"
    said = f"{status.message}; {note}" if status.message else note
    return replace(status, message=said)


def _silent(root: Path, status: RunStatus, job: render.RayJob) -> RunStatus | None:
    """That it is lost, by the folder alone; None while it is written to."""
    seconds = _seconds_since(RunPaths(root).status)
    if seconds <= _SILENT_SECONDS:
        return None
    what = f"the cluster at {address_of(job)} does not answer, and the driver has written "
    return _lost(status, f"{what}nothing for {seconds:.0f} s")


def _seconds_since(path: Path) -> float:
    """By the clock of this machine; the file's may be another's."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return float("inf")
