"""In a Ray cluster of KubeRay: the folder as a submit leaves it, then the Ray backend's driver.

Elsewhere `launcher submit` writes the folder and the driver finds it. Here nobody has submitted:
the manifest was applied, and the head node is the first that sees the folder.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from launcher.contract import (
    DRIVER_MODULE,
    DRIVER_ROLE,
    RAY_CONTROL_FILE,
    RAY_JOB_FILE,
    Reason,
    RunPaths,
    State,
)
from launcher.pod import folder
from launcher.run_record import begin_again
from launcher.storage import read_json, write_json


def become(paths: RunPaths, plans: Path, env: Mapping[str, str]) -> NoReturn:
    """This process is the driver from now on. Raises LauncherError before that."""
    files = folder.mounted(plans, RAY_JOB_FILE)
    folder.publish(paths, files)
    folder.check_writable(paths, DRIVER_ROLE)
    job = json.loads(files[RAY_JOB_FILE])
    write_json(paths.root / RAY_CONTROL_FILE, {"submission": job["submission"], "stops": 0})
    begin_again(paths)
    write_json(paths.status, _pending(paths, job["name"], job["total_steps"]))
    argv = [sys.executable, "-m", DRIVER_MODULE, str(paths.root), job["submission"]]
    os.execve(sys.executable, argv, dict(env))  # noqa: S606


def _pending(paths: RunPaths, name: str, total_steps: int) -> dict[str, object]:
    """What a submit writes: the supervisor goes on from it. Attempts of earlier submits count."""
    before = read_json(paths.status)
    step = before.get("step") if isinstance(before, dict) else 0
    logs = (p.name.removeprefix("attempt-") for p in (paths.root / "logs").glob("attempt-*"))
    attempts = [int(number) for number in logs if number.isdecimal()]
    now = time.time()
    return {
        "name": name,
        "state": State.PENDING,
        "reason": Reason.SUBMITTED,
        "message": "",
        "attempt": max(attempts, default=-1) + 1,
        "restarts": 0,
        "step": step if isinstance(step, int) else 0,
        "total_steps": total_steps,
        "backend": "kubernetes",
        "submitted": now,
        "updated": now,
    }
