"""What is said by more than one part, and what a Ray job has said."""

from collections.abc import Mapping
from typing import Any

from launcher.contract import State
from launcher.errors import WorkerExit


def lost_message(state: State) -> str:
    return (
        f"the driver of the run is gone without a word (it was killed, or its node or Ray's head "
        f"is gone); the run was {state}. `launcher submit SPEC --resume` continues it from the "
        "last checkpoint"
    )


def refused(told: Mapping[str, Any]) -> str:
    """Why a driver that never got to the run's folder left; empty: it did not leave like that."""
    if told.get("driver_exit_code") != WorkerExit.BAD_CONFIG:
        return ""
    return error_in(str(told.get("message") or "")) or "the driver refused the run"


def error_in(text: str) -> str:
    """The last error that a job's log tells; empty: none."""
    lines = (line.partition("error: ")[2].strip() for line in reversed(text.splitlines()))
    return next((line for line in lines if line), "")
