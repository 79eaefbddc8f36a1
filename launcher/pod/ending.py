"""What a pod leaves: its exit code for whoever starts pods again, a word in the run's folder.

Of a TFJob nobody counts how often a worker failed, and its operator starts every one again whose
code is 128 or more, a signal's too. So our pods count: what each start has left, and those that
left nothing because the whole container was killed.
"""

import time
from pathlib import Path
from typing import Any

from launcher.contract import RunPaths
from launcher.errors import FINAL_WORKER_EXITS, StorageError, WorkerExit
from launcher.pod.identity import Identity
from launcher.storage import is_gone, peek_json, write_json

_FREE = (int(WorkerExit.DONE), int(WorkerExit.STOPPED))
END_SECONDS = 20.0
"""How long the last words may take: their disk may be what the worker has left for."""
UNKNOWN = 1
"""Exit code of a failure that has no other; as of a traceback."""


def end(paths: RunPaths, me: Identity, attempt: int | None, code: int) -> int:
    """Write down how it ended; the exit code of the container. Never raises: a full disk must not
    hide the code."""
    last = is_last(paths, me, attempt, code)
    try:
        if attempt is not None:
            write_json(paths.exit(attempt, me.who), {"exit": code, "time": time.time()})
        if last and me.role == "worker" and not is_gone(paths.root):
            write_json(paths.given_up, _given_up(paths, me, code))
    except StorageError as e:
        print(f"error: {e}", flush=True)  # noqa: T201
    if last and me.exit_offset:
        return _permanent(code, me.exit_offset)
    return uncounted(me, code)


def uncounted(me: Identity, code: int) -> int:
    """The exit code of the container, where nobody can look how often it has failed before."""
    if not me.exit_offset or code in (int(WorkerExit.DONE), *FINAL_WORKER_EXITS):
        return code
    return code if code >= me.exit_offset else code + me.exit_offset


def _permanent(code: int, offset: int) -> int:
    """One below `offset` that is not retried and means nothing else: a signal's number, 9 for what
    ended with 137."""
    if code < offset:
        return code
    low = code - offset
    return UNKNOWN if low in {int(known) for known in WorkerExit} else low


def is_last(paths: RunPaths, me: Identity, attempt: int | None, code: int) -> bool:
    """Whether the workers will not be started again after this one's exit code, as far as a pod
    can know: a JobSet does not tell its pods how many restarts it has counted. A start that has
    found no place for its log (attempt None) cannot be counted: where pods count, it is the last.
    """
    if code in _FREE:
        return False
    if code in FINAL_WORKER_EXITS:
        return True
    if me.max_restarts is None:
        return False
    if me.failures is not None:
        return me.failures >= me.max_restarts
    if not me.exit_offset:
        return False
    return attempt is None or counted(paths, me, attempt) >= me.max_restarts


def used_up(paths: RunPaths, me: Identity, attempt: int) -> str:
    """Why this start is one too many, empty: it is not. Nobody else ends a worker whose containers
    are killed whole, one after the other: none of them comes to its last word."""
    if not me.exit_offset or me.max_restarts is None or paths.given_up.exists():
        return ""
    failed = counted(paths, me, attempt)
    if failed <= me.max_restarts:
        return ""
    return (
        f"{me.who} has failed {failed} times, the last time killed with its container, and may be "
        f"started again {me.max_restarts} times (restart.max_restarts): too little main memory "
        "(OOMKilled), or nodes that go away"
    )


def counted(paths: RunPaths, me: Identity, attempt: int) -> int:
    """Failures of this worker in other starts than this, since the run was begun, or begun again
    after it had been given up."""
    since = _number(peek_json(paths.begun_again), "time")
    own = paths.logs(attempt) / f"{me.who}.log"
    logs = (paths.root / "logs").glob(f"attempt-*/{me.who}.log")
    return sum(log != own and _failed(log, me.who, since) for log in logs)


def _failed(log: Path, who: str, since: float) -> bool:
    said = peek_json(log.with_name(f"{who}.exit.json"))
    if isinstance(said, dict):
        return said.get("exit") not in _FREE and _number(said, "time") >= since
    try:
        return log.stat().st_mtime >= since
    except OSError:
        return True


def _number(said: Any, key: str) -> float:
    value = said.get(key) if isinstance(said, dict) else None
    return float(value) if isinstance(value, int | float) else 0.0


def _given_up(paths: RunPaths, me: Identity, code: int) -> dict[str, Any]:
    said = peek_json(paths.failure(me.role, me.index))
    message = said.get("message", "") if isinstance(said, dict) else ""
    return {"worker": me.index, "exit": code, "message": message, "time": time.time()}


def tell(paths: RunPaths, me: Identity, code: int, message: str) -> None:
    """As the worker itself would: why it left, in the run's folder if there is one."""
    if is_gone(paths.root):
        return
    try:
        write_json(paths.failure(me.role, me.index), {"exit": code, "message": message})
    except StorageError as e:
        print(f"error: {e}", flush=True)  # noqa: T201
