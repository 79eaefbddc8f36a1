"""What a pod leaves: its exit code for whoever starts pods again, a word in the run's folder."""

import time
from typing import Any

from launcher.contract import RunPaths
from launcher.errors import FINAL_WORKER_EXITS, StorageError, WorkerExit
from launcher.pod.identity import Identity
from launcher.storage import peek_json, write_json

_FREE = (int(WorkerExit.DONE), int(WorkerExit.STOPPED))


def end(paths: RunPaths, me: Identity, attempt: int | None, code: int) -> int:
    """Write down how it ended; the exit code of the container. Never raises: a full disk must not
    hide the code."""
    last = is_last(paths, me, code)
    try:
        if attempt is not None:
            write_json(paths.exit(attempt, me.who), {"exit": code, "time": time.time()})
        if last and me.role == "worker" and paths.root.is_dir():
            write_json(paths.given_up, _given_up(paths, me, code))
    except StorageError as e:
        print(f"error: {e}", flush=True)  # noqa: T201
    if me.exit_offset and code not in (int(WorkerExit.DONE), *FINAL_WORKER_EXITS) and not last:
        return code if code > me.exit_offset else code + me.exit_offset
    return code


def is_last(paths: RunPaths, me: Identity, code: int) -> bool:
    """Whether the workers will not be started again after this one's exit code, as far as a pod
    can know: a JobSet does not tell its pods how many restarts it has counted."""
    if code in _FREE:
        return False
    if code in FINAL_WORKER_EXITS:
        return True
    if me.max_restarts is None:
        return False
    if me.failures is not None:
        return me.failures >= me.max_restarts
    return bool(me.exit_offset) and _counted(paths, me) >= me.max_restarts


def _counted(paths: RunPaths, me: Identity) -> int:
    """Failures of this worker before this one, where nobody but the run's folder counts them."""
    files = (paths.root / "logs").glob(f"attempt-*/{me.who}.exit.json")
    codes = [said.get("exit") for said in map(peek_json, files) if isinstance(said, dict)]
    return sum(code not in _FREE for code in codes)


def _given_up(paths: RunPaths, me: Identity, code: int) -> dict[str, Any]:
    said = peek_json(paths.failure(me.role, me.index))
    message = said.get("message", "") if isinstance(said, dict) else ""
    return {"worker": me.index, "exit": code, "message": message, "time": time.time()}


def tell(paths: RunPaths, me: Identity, code: int, message: str) -> None:
    """As the worker itself would: why it left, in the run's folder if there is one."""
    if not paths.root.is_dir():
        return
    try:
        write_json(paths.failure(me.role, me.index), {"exit": code, "message": message})
    except StorageError as e:
        print(f"error: {e}", flush=True)  # noqa: T201
