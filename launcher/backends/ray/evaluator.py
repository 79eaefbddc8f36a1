"""The evaluator as the driver sees it: a Ray job of its own, which outlives the driver."""

import contextlib
import signal
import time
import urllib.parse
from pathlib import Path

import ray

from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.rest import ENDED, Dashboard, NotThereError, RefusedError
from launcher.backends.ray.words import error_in
from launcher.errors import FINAL_WORKER_EXITS, ConfigError, UnreachableError, WorkerExit
from launcher.render import ray as render
from launcher.render.supervised import EVALUATOR, Process

_LOOK_SECONDS = 1.0
_END_SECONDS = 20.0
_PENDING_SECONDS = 10.0
_NO_ROOM = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
"""Ray takes a job back that has found no room within RAY_JOB_START_TIMEOUT_SECONDS (900)."""


class RayEvaluator:
    """A Member (backends/processes.py)."""

    frozen = False

    def __init__(self, job: render.RayJob, dashboard: Dashboard, number: int, attempt: int) -> None:
        """Submits it, unless Ray has it already. Raises ConfigError when the cluster does not take
        it, UnreachableError when it does not answer."""
        request = render.evaluator_request(
            job, number, "--attempt", str(attempt), "--dashboard", dashboard.address
        )
        # Our package is in the cluster already: by its address there.
        modules = ray.get_runtime_context().runtime_env.get("py_modules")
        if modules:
            request["runtime_env"] = {**request["runtime_env"], "py_modules": list(modules)}
        self.submission: str = request["submission_id"]
        try:
            dashboard.submit(request)
        except (RefusedError, NotThereError) as e:
            if not dashboard.knows(self.submission):  # by a request that got no answer
                refused = f"Ray refuses it ({e})"
                raise ConfigError(refused, place=self.submission) from None
        log = str(job.paths.evaluator_log(attempt))
        self.process = Process(EVALUATOR, 0, (), {}, log)
        self.label = EVALUATOR
        self.identity = f"Ray job {self.submission}"
        self.code: int | None = None
        self.told = ""
        self.waiting: str | None = None
        self.ip = ""
        """Of its node; empty: it has none yet."""
        self._needs = job.evaluator_needs
        self._began = time.monotonic()
        self._dashboard = dashboard
        self._looked = 0.0

    def poll(self) -> int | None:
        now = time.monotonic()
        if self.code is not None or now - self._looked < _LOOK_SECONDS:
            return self.code
        self._looked = now
        try:
            job = self._dashboard.job(self.submission)
        except UnreachableError:
            return None  # it goes on
        except NotThereError:
            self.code, self.told = int(WorkerExit.PEER_LOST), "Ray does not know it any more"
            return self.code
        where = str(job.get("driver_agent_http_address") or "")
        self.ip = urllib.parse.urlsplit(where).hostname or ""
        if job.get("status") not in ENDED:
            self.waiting = self._waits(str(job.get("status")))
        else:
            self.code = self._code_of(job)
            told = str(job.get("message") or "")
            refused = error_in(told) if self.code in FINAL_WORKER_EXITS else ""
            self.told = (refused or told) if self.code else ""
        return self.code

    def signal(self, number: signal.Signals) -> None:
        if number in (signal.SIGTERM, signal.SIGKILL) and self.code is None:
            self._looked = 0.0
            with contextlib.suppress(UnreachableError):
                self._dashboard.stop(self.submission)

    def _waits(self, status: str) -> str | None:
        if status != "PENDING":
            return ""
        if time.monotonic() - self._began < _PENDING_SECONDS:
            return None  # Ray takes as long to start anything
        what = self._needs if self._needs.bundle else "Ray to start it"
        return f"the evaluator waits for {what} (its job is PENDING)"

    def _code_of(self, job: dict[str, object]) -> int:
        if job.get("status") == "SUCCEEDED":
            return int(WorkerExit.DONE)
        if job.get("error_type") == _NO_ROOM:
            return int(WorkerExit.STOPPED)  # no fault of its own: it is given to Ray again
        code = job.get("driver_exit_code")
        if isinstance(code, int) and code:
            return code
        return int(WorkerExit.STOPPED) if job.get("status") == "STOPPED" else 1


def end_earlier(root: Path, dashboard: Dashboard) -> None:
    """One that a driver which is gone has left: this driver starts its own."""
    submission = mapping(Channel(root).evaluator).get("submission")
    if not submission:
        return
    deadline = time.monotonic() + _END_SECONDS
    with contextlib.suppress(NotThereError, UnreachableError):
        while dashboard.job(submission).get("status") not in ENDED:
            dashboard.stop(submission)
            if time.monotonic() > deadline:
                return
            time.sleep(_LOOK_SECONDS)
