"""What every backend offers, and the handle that a submitted run is held by."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from launcher.contract import Reason, RunPaths, State
from launcher.errors import LauncherError, StorageError, UnreachableError
from launcher.report.results import Results, read_results
from launcher.storage import is_passing, reading

if TYPE_CHECKING:
    from launcher.planning import Plan

JobState = State
"""The states of a run: PENDING RUNNING RESTARTING EVALUATING SUCCEEDED FAILED CANCELLED."""

_POLL_SECONDS = 0.5
UNREACHABLE_SECONDS = 900.0
"""How long who follows a run asks again when a backend that has answered does not any more: an API
server of one machine is away for minutes while it is upgraded."""


@dataclass(frozen=True)
class Progress:
    """The newest that workers and evaluator said. None: nothing yet."""

    images_per_second: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    eta_seconds: float | None = None
    """Until the last step, at the present rate."""
    last_map: float | None = None
    """A fraction, as pycocotools gives it."""
    last_map_step: int | None = None


@dataclass(frozen=True)
class RunStatus:
    """A run as it is now. Times are seconds since 1970."""

    name: str
    root: Path
    state: State
    reason: Reason
    message: str = ""
    """The evidence, for people: what failed where, and what to do."""
    attempt: int = 0
    """Which start of the group of workers this is, from 0."""
    restarts: int = 0
    """How many of `max_restarts` are used up."""
    step: int = 0
    total_steps: int = 0
    backend: str = "local"
    supervisor_pid: int | None = None
    submitted: float | None = None
    updated: float | None = None
    progress: Progress = Progress()

    def to_json(self) -> dict[str, Any]:
        """Flat: what `status --json` prints."""
        values = asdict(self)
        progress = values.pop("progress")
        return {**values, "root": str(self.root), **progress}


class Backend(Protocol):
    """One way to run a plan. A run is its folder `root`, `<run_dir>/<name>`."""

    name: str

    def where(self, plan: "Plan") -> dict[str, str]:
        """What another process needs to find the run that is not in its folder: an address, a
        namespace. Empty: the folder says it all."""

    def folder(self, plan: "Plan") -> Path:
        """Where this machine has the run's files: plan.root, or a copy where that is on storage of
        a cluster only."""

    def sees_data(self, plan: "Plan") -> bool:
        """Whether the records of the plan can be looked for here; else its workers do so."""

    def dry_run(self, plan: "Plan") -> dict[str, Any]:
        """Exactly what `submit` would start and write."""

    def check(self, plan: "Plan", *, resume: bool = False, replace: bool = False) -> None:
        """Raise what `submit` would raise, as far as it can be known before: nothing is written."""

    def submit(
        self,
        plan: "Plan",
        *,
        resume: bool = False,
        replace: bool = False,
        found: dict[str, Any] | None = None,
    ) -> "JobHandle":
        """Start the run and return at once. `found` by the preflight becomes its check.json.

        Raises UsageError when the name is running, or has ended and neither `resume` (continue
        from its checkpoints) nor `replace` (delete it first) is given; StorageError when the
        folder cannot be written. Nothing is left behind then.
        """

    def status(self, root: Path) -> RunStatus: ...

    def cancel(self, root: Path, timeout: float | None = None) -> bool:
        """Save a checkpoint and end all processes; returns when they are gone.

        False when it had ended already. `timeout` in seconds, None: the backend's.
        """

    def delete(self, root: Path) -> bool:
        """Remove the folder. False when there is none. Raises UsageError while it runs."""

    def logs(self, root: Path, *, follow: bool) -> AbstractContextManager[None]:
        """Within it the files below logs/ have what the processes have written so far; with
        `follow` they go on growing."""

    def evaluate(self, root: Path) -> None:
        """Score the newest checkpoint of a run that has ended, in the foreground.

        Raises UsageError while it runs, RunFailedError when the evaluator fails.
        """


@dataclass(frozen=True)
class JobHandle:
    """A submitted run. It stays valid when this process ends and another looks at the run."""

    name: str
    root: Path
    backend: Backend
    _heard: list[RunStatus] = field(default_factory=list, init=False, repr=False, compare=False)
    """The last status that a look has had; empty: none yet."""

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.root)

    def status(self) -> RunStatus:
        return self.backend.status(self.root)

    def look(
        self, tell: Callable[[str], None] = lambda text: None, deadline: float | None = None
    ) -> RunStatus:
        """Its status, for who looks again and again: waits while a network file system does not
        answer, or a cluster that has answered before, until `deadline` by the monotonic clock.
        `tell` hears of that once.

        Raises StorageError when the folder cannot be read for another reason, UnreachableError when
        the cluster has not answered the first look, or not for UNREACHABLE_SECONDS.
        """
        told, began = "", time.monotonic()
        while True:
            try:
                status = self.status()
            except UnreachableError as e:
                away = time.monotonic() - began
                if not self._heard or away > UNREACHABLE_SECONDS or _is_over(deadline):
                    raise
                why = told or _away(self.name, e)
            except StorageError as e:
                if not is_passing(e) or _is_over(deadline):
                    raise
                why = str(e)
            else:
                self._heard[:] = [status]
                return status
            if why != told:
                told = why
                tell(told)
            time.sleep(_POLL_SECONDS)

    def wait(self, timeout: float | None = None) -> RunStatus:
        """Until the run has ended. Raises TimeoutError after `timeout` seconds; it goes on then."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (status := self.look(deadline=deadline)).state.ended:
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is {status.state} after {timeout:g} s")
            time.sleep(_POLL_SECONDS)
        return status

    def results(self) -> Results:
        """All scores so far, and the target they are compared with."""
        if collect := getattr(self.backend, "collect", None):
            collect(self.root)
        return read_results(self.paths, self.name, self.status().state)

    @property
    def elsewhere(self) -> str:
        """Where the run's files are when this machine does not see them; empty: it does."""
        tell = getattr(self.backend, "elsewhere", None)
        return str(tell(self.root)) if tell else ""

    def cancel(self, timeout: float | None = None) -> RunStatus:
        """Save a checkpoint and stop. Does nothing to a run that has ended."""
        self.backend.cancel(self.root, timeout)
        return self.status()

    def logs(self, who: str = "worker-0", attempt: int | None = None) -> Iterator[str]:
        """The lines so far of `worker-<i>`, `evaluator` or `supervisor`, of all attempts or one."""
        with self.backend.logs(self.root, follow=False):
            attempts = log_attempts(self.paths) if attempt is None else [attempt]
        for k in attempts:
            path = self.paths.logs(k) / f"{who}.log"
            if path.is_file():
                with path.open(errors="replace") as file:
                    yield from (line.rstrip("\n") for line in file)


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


def _away(name: str, error: LauncherError) -> str:
    problem = error.problems[0]
    return (
        f"{problem.place}: {problem.what}; {name} goes on, and is asked for again, for "
        f"{UNREACHABLE_SECONDS / 60:g} minutes at most"
    )


def log_attempts(paths: RunPaths) -> list[int]:
    """The attempts that have logs, in order. Raises StorageError."""
    folder = paths.root / "logs"
    with reading(folder):
        found = [path.name.removeprefix("attempt-") for path in folder.glob("attempt-*")]
    return sorted(int(text) for text in found if text.isdecimal())
