"""Whether the workers of a run that nobody watches as a whole are gone for good.

Heartbeats tell of steps, and a pod touches its log every minute while its container lives
(pod/child.py). Neither comes while workers wait for their nodes, so silence alone ends nothing
soon: how the last starts ended says how long it is waited for.
"""

import time
from pathlib import Path

from launcher.contract import RunPaths
from launcher.errors import WorkerExit
from launcher.storage import peek_json

FAILED_SECONDS = 3600.0
"""After a start that failed, or was killed with its container: a Job starts it again within ten
minutes, and whoever is back says so while it waits for the others."""
STOPPED_SECONDS = 6 * 3600.0
"""After an orderly stop of all: they were preempted, or a queue has suspended them."""
NEVER_SECONDS = 24 * 3600.0
"""When no worker has come at all."""
_FREE = (int(WorkerExit.DONE), int(WorkerExit.STOPPED))


def silent(paths: RunPaths, began: float) -> str | None:
    """Why nobody will come back, else None. `began`: when the evaluator did, in seconds since
    1970; it has not listened before."""
    quiet = time.time() - began
    if quiet < FAILED_SECONDS:
        return None
    logs = _newest_logs(paths)
    said = [*paths.progress(0).parent.glob("worker-[0-9]*.json"), *logs.values()]
    said = [path for path in said if not path.name.endswith(".failure.json")]
    if not said:
        if quiet < NEVER_SECONDS:
            return None
        return f"silent: no worker has come for {_hours(NEVER_SECONDS)}"
    quiet = time.time() - max(began, *map(_changed, said))
    failed = any(_failed(log, who) for who, log in logs.items())
    bound = FAILED_SECONDS if failed else STOPPED_SECONDS
    if quiet < bound:
        return None
    how = " since one has failed" if failed else ""
    return f"silent: no worker has said anything for {_hours(bound)}{how}"


def _newest_logs(paths: RunPaths) -> dict[str, Path]:
    """Of each worker that of its last start."""
    found: dict[str, tuple[int, Path]] = {}
    for log in (paths.root / "logs").glob("attempt-*/worker-*.log"):
        number = log.parent.name.removeprefix("attempt-")
        attempt = int(number) if number.isdecimal() else -1
        found[log.stem] = max(found.get(log.stem, (-1, log)), (attempt, log))
    return {who: log for who, (_, log) in found.items()}


def _failed(log: Path, who: str) -> bool:
    """Its last start has, or it was killed before it could say."""
    said = peek_json(log.with_name(f"{who}.exit.json"))
    return not isinstance(said, dict) or said.get("exit") not in _FREE


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _hours(seconds: float) -> str:
    hours = round(seconds / 3600)
    return "an hour" if hours == 1 else f"{hours} hours"
