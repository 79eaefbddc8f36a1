"""`launcher evaluate` of a run on Ray: a job of its cluster, or here when that is gone.

A cluster that was started for the run has ended with it: then the storage is this machine's.
"""

import argparse
import sys
import time
from pathlib import Path

from launcher.backends import rescore as here
from launcher.backends.base import RunStatus
from launcher.backends.machine import check_training_extra
from launcher.backends.ray import evaluator_job, submission
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError
from launcher.backends.ray.truth import ray_status
from launcher.errors import RunFailedError, UnreachableError
from launcher.render import ray as render

_POLL_SECONDS = 1.0


def rescore(root: Path) -> None:
    """Raises UsageError while the run goes on, RunFailedError when the evaluator fails."""
    here.score_again(root, ray_status(root), lambda status: _score(root, status))


def _score(root: Path, status: RunStatus) -> int:
    job = render.RayJob.read(root / render.JOB_FILE)
    if not job.own:
        dashboard = Dashboard(job.address)
        try:
            dashboard.version()
        except UnreachableError as e:
            _say(f"{e.problems[0].place}: {e.problems[0].what}: scoring on this machine")
        else:
            return _as_job(job, dashboard, status.attempt)
    check_training_extra()
    arguments = argparse.Namespace(attempt=status.attempt, once=True)
    return here.run_here(evaluator_job.process(job, arguments))


def _as_job(job: render.RayJob, dashboard: Dashboard, attempt: int) -> int:
    """Its exit code; what it says goes to stderr. Interrupted, it is stopped."""
    number = 1
    while dashboard.knows(render.evaluator_request(job, number)["submission_id"]):
        number += 1
    request = render.evaluator_request(job, number, "--attempt", str(attempt), "--once")
    name = request["submission_id"]
    submission.submit(dashboard.address, request)
    _say(f"{job.name}: Ray job {name} at {dashboard.address}")
    shown = 0
    try:
        while True:
            told = dashboard.job(name)
            logs = dashboard.logs(name)
            sys.stderr.write(logs[shown:])
            sys.stderr.flush()
            shown = max(shown, len(logs))
            if told.get("status") in ENDED:
                break
            time.sleep(_POLL_SECONDS)
    except NotThereError:
        raise RunFailedError(
            "the cluster forgot the job (its head restarted)",
            place=name,
            remedy="Run the command again",
        ) from None
    except BaseException:
        dashboard.stop(name)
        raise
    code = told.get("driver_exit_code")
    if code is None and told.get("status") == "FAILED":  # Ray has not started it
        _say(str(told.get("message") or ""))
    return 0 if told.get("status") == "SUCCEEDED" else code if isinstance(code, int) else 1


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
