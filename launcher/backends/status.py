"""status.json: written by the supervisor, read by everyone, and told apart from the truth."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.backends import lock
from launcher.backends.base import Progress, RunStatus
from launcher.contract import Reason, RunPaths, State
from launcher.errors import StorageError
from launcher.storage import append_jsonl, peek_json, read_json, storage_error, write_json

_TAIL_BYTES = 256 * 1024
"""Several lines of scores, each with the AP of every category."""

MESSAGE_LIMIT = 1500
"""Characters: status.json stays within one block of a disk, which a full disk still has."""


def read_status(root: Path) -> RunStatus | None:
    """As written. None when nothing is there or it cannot be understood. Raises StorageError when
    it is there and cannot be read."""
    data = read_json(RunPaths(root).status)
    if not isinstance(data, dict):
        return None
    try:
        return RunStatus(
            name=str(data["name"]),
            root=root,
            state=State(data["state"]),
            reason=Reason(data["reason"]),
            message=str(data.get("message") or ""),
            attempt=int(data["attempt"]),
            restarts=int(data["restarts"]),
            step=int(data["step"]),
            total_steps=int(data["total_steps"]),
            backend=str(data["backend"]),
            supervisor_pid=data.get("supervisor_pid"),
            submitted=data.get("submitted"),
            updated=data.get("updated"),
        )
    except (KeyError, ValueError, TypeError):
        return None


def true_status(root: Path) -> RunStatus:
    """As it is: a run that says it is running but has no supervisor any more has failed.

    Raises StorageError when its folder does not say.
    """
    status = read_status(root)
    if status is None or not status.state.ended:
        held = lock.is_held(root)
        status = read_status(root)  # again: it may have ended between the two looks
        if status is None:
            status = RunStatus(root.name, root, State.PENDING, Reason.SUBMITTED)
        if not held and not status.state.ended:
            status = replace(
                status,
                state=State.FAILED,
                reason=Reason.SUPERVISOR_LOST,
                message=(
                    f"the process that watched the run is gone without a word (it was killed, or "
                    f"the machine restarted); the run was {status.state}. "
                    f"`launcher submit SPEC --resume` continues it from the last checkpoint"
                ),
            )
    return with_progress(root, status)


def with_progress(root: Path, status: RunStatus) -> RunStatus:
    """What the workers and the evaluator said last is added to what the supervisor wrote."""
    progress = progress_of(root, status)
    if status.state is not State.RUNNING:
        progress = replace(progress, eta_seconds=None)
    step = newest_step(root, status.attempt)
    return replace(status, progress=progress, step=status.step if step is None else step)


def write_status(status: RunStatus) -> None:
    """Atomically; on a full disk over the old one. Raises StorageError when neither works."""
    data = _to_file(status)
    path = RunPaths(status.root).status
    try:
        write_json(path, data)
    except StorageError:
        _overwrite(path, data)


def write_pending(
    root: Path, *, backend: str, attempt: int, total_steps: int, before: RunStatus | None
) -> None:
    """Of a run that is being submitted; one that is continued has the steps of `before`."""
    now = time.time()
    write_status(
        RunStatus(
            name=root.name,
            root=root,
            state=State.PENDING,
            reason=Reason.SUBMITTED,
            attempt=attempt,
            step=before.step if before else 0,
            total_steps=total_steps,
            backend=backend,
            submitted=now,
            updated=now,
        )
    )


def write_last(status: RunStatus | None, state: State, reason: Reason, message: str = "") -> None:
    """The last word, for a supervisor that cannot say it any more. Nothing when it has."""
    if status is not None and not status.state.ended:
        write_status(
            replace(status, state=state, reason=reason, message=message, updated=time.time())
        )


def note_change(before: RunStatus, now: RunStatus) -> None:
    """A line of events.jsonl where more than the step has changed. Raises StorageError."""
    what = ("state", "reason", "message", "attempt", "restarts")
    if all(getattr(before, name) == getattr(now, name) for name in what):
        return
    row = {"time": now.updated, "step": now.step, **{name: getattr(now, name) for name in what}}
    append_jsonl(RunPaths(now.root).events, row)


def newest_step(root: Path, attempt: int) -> int | None:
    """The step of the slowest worker of this attempt that has said anything; None before.

    A heartbeat of an earlier attempt says how far that one came, which a restart may repeat.
    """
    steps = [int(b["step"]) for b in heartbeats(root) if b.get("attempt") == attempt]
    return min(steps, default=None)


def heartbeats(root: Path) -> list[dict[str, Any]]:
    """Of all workers that have written one which can be read now, by number."""
    found = []
    try:
        paths = list((root / "progress").glob("worker-*.json"))
    except OSError:  # as of a network file system, which may answer at the next look
        return []
    for path in paths:
        number = path.name.removeprefix("worker-").removesuffix(".json")
        data = peek_json(path)
        if number.isdecimal() and isinstance(data, dict) and isinstance(data.get("step"), int):
            found.append((int(number), data))
    return [data for _, data in sorted(found, key=lambda pair: pair[0])]


def newest_score(path: Path) -> dict[str, Any] | None:
    """The last whole line of eval.jsonl, without reading all of them every time."""
    return next(_newest_scores(path), None)


def is_scored(path: Path, step: int) -> bool:
    """Whether one of the newest lines has the score of this step."""
    return any(row.get("step") == step for row in _newest_scores(path))


def _newest_scores(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # torn, by a killed writer or by us
            continue
        if isinstance(row, dict) and "mAP" in row:
            yield row


def progress_of(root: Path, status: RunStatus) -> Progress:
    beats = [b for b in heartbeats(root) if b.get("attempt") == status.attempt]
    chief = beats[0] if beats else {}
    score = newest_score(RunPaths(root).eval_metrics) or {}
    speed = chief.get("images_per_second")
    plan = peek_json(RunPaths(root).plan)
    batch = plan.get("global_batch") if isinstance(plan, dict) else None
    left = status.total_steps - int(chief.get("step", 0))
    return Progress(
        images_per_second=speed,
        loss=chief.get("loss"),
        learning_rate=chief.get("learning_rate"),
        eta_seconds=left * batch / speed if speed and batch else None,
        last_map=score.get("mAP"),
        last_map_step=score.get("step"),
    )


def _to_file(status: RunStatus) -> dict[str, Any]:
    message = status.message
    if len(message) > MESSAGE_LIMIT:
        message = message[: MESSAGE_LIMIT - 3] + "..."
    return {
        "name": status.name,
        "state": status.state,
        "reason": status.reason,
        "message": message,
        "attempt": status.attempt,
        "restarts": status.restarts,
        "step": status.step,
        "total_steps": status.total_steps,
        "backend": status.backend,
        "supervisor_pid": status.supervisor_pid,
        "submitted": status.submitted,
        "updated": status.updated,
    }


def _overwrite(path: Path, data: dict[str, Any]) -> None:
    """In place: a full disk has no room for a second file, but for another text in this one."""
    try:
        with path.open("r+") as file:
            file.write(json.dumps(data))
            file.truncate()
    except OSError as e:
        raise storage_error(e, path) from e
