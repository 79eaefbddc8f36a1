"""What the driver of a RayJob says of the run: in status.json, else by its last words.

It is the run's supervisor, and ends with 1 whatever has happened. Its verdict is a line of its log,
of which Ray puts the last ten into the job's message, and KubeRay that into the RayJob's status.
"""

import re
from dataclasses import replace
from pathlib import Path

from launcher.backends.base import RunStatus
from launcher.backends.status import read_status
from launcher.backends.verdict import Exit
from launcher.contract import Reason, State

_VERDICT = re.compile(
    r"^\d{4}-\d\d-\d\d [\d:]{8} (?P<state>[A-Z]+) \((?P<reason>[a-z-]+)\)(?:: (?P<message>.*))?$",
    re.M,
)
"""backends/supervising.py: `2026-11-24 21:00:00 FAILED (diverged): worker-0: the loss is ...`."""
_EXIT = re.compile(r"entrypoint command failed with exit code (\d+)")
_ERROR = re.compile(r"^.*?\berror: (?P<told>.+)$", re.M)
_SKEW_SECONDS = 5.0
"""Between the clocks of the API server and of the head node."""

Verdict = tuple[State, Reason, str]


def verdict(message: str) -> Verdict | None:
    """From the message of a RayJob that has ended; None: it has no word of the driver's."""
    for found in reversed([*_VERDICT.finditer(message)]):
        try:
            state, reason = State(found["state"]), Reason(found["reason"])
        except ValueError:
            continue
        if state.ended:
            return state, reason, (found["message"] or "").strip()
    code = _EXIT.search(message)
    if code is None or int(code[1]) <= 1:
        return None
    told = [found["told"].strip() for found in _ERROR.finditer(message)]
    ended = Exit("the driver", int(code[1]), told=told[-1] if told else "")
    return State.FAILED, ended.reason, str(ended)


def with_written(status: RunStatus, root: Path, created: float | None) -> RunStatus:
    """With what status.json says, if it is of the RayJob that was `created` then: one that an
    earlier submit has left says nothing."""
    said = read_status(root)
    if said is None or created is None or (said.submitted or 0.0) < created - _SKEW_SECONDS:
        return status
    if status.reason in (Reason.CANCELLED, Reason.QUEUED):
        return status
    counted = replace(status, attempt=said.attempt, restarts=said.restarts)
    if not said.state.ended:
        if status.state.ended:  # the driver is gone, and did not come to say so
            return counted
        if said.state is State.PENDING and status.message:  # its pods know why
            return counted
    return replace(counted, state=said.state, reason=said.reason, message=said.message)
