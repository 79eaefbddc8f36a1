"""What a supervisor knows of a run, whatever starts its processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.contract import RunPaths

WORKER, EVALUATOR = "worker", "evaluator"
WATCHDOGS_MARGIN_SECONDS = 60.0
"""Beyond restart.stall_timeout_seconds, after which a worker's own watchdog ends it."""

_MAX_PAUSE_SECONDS = 30.0
_EVALUATOR_SECONDS = 1800.0


@dataclass(frozen=True)
class Role:
    """`count` processes of the same argv (after the Python executable)."""

    name: str
    count: int
    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Process:
    """One process: `env` is added to the environment, output is appended to `log`."""

    role: str
    index: int
    argv: tuple[str, ...]
    env: Mapping[str, str]
    log: str


@dataclass(frozen=True, kw_only=True)
class SupervisedJob:
    """What stays the same over all attempts of a run. Times in seconds."""

    name: str
    root: str
    workers: int
    total_steps: int
    max_restarts: int
    roles: tuple[Role, ...]
    stop_seconds: float = 60.0
    """From SIGTERM to SIGKILL, at least: time to save a checkpoint of a large model. Workers whose
    steps are long have more (backends/patience.py)."""
    group_stop_seconds: float = 12.0
    """The same for a group that lost a member, which cannot save anything together any more. With
    `peer_seconds` it has left within 20 s."""
    killed_stop_seconds: float = 2.0
    """The same when a signal ended that member: the others wait in native code, where SIGTERM does
    not reach them; who is writing a checkpoint may finish it."""
    silence_seconds: float = 360.0
    """How long no worker may tell of a step: longer than their own watchdogs take."""
    frozen_seconds: float = 10.0
    """How long some of a group may be stopped by a signal while the others wait for them."""
    peer_seconds: float = 5.0
    """How long the others may take to say why one left: its reason is not always the first."""
    restart_seconds: float = 1.0
    """Pause before a restart, doubled by each one that brought no step, up to half a minute."""
    max_evaluator_restarts: int = 3

    @property
    def paths(self) -> RunPaths:
        return RunPaths(Path(self.root))

    @property
    def evaluator_silence_seconds(self) -> float:
        """How long the evaluator may not get on: to build and trace a model, or to compare its two
        modes, takes minutes on busy cores, and the scores of 5,000 images most of one."""
        return max(4 * self.silence_seconds, _EVALUATOR_SECONDS)

    def pause(self, before: int) -> float:
        """Seconds to wait when as many tries in a row have brought nothing before this one."""
        return min(self.restart_seconds * 2.0 ** min(before, 30), _MAX_PAUSE_SECONDS)

    def role(self, name: str) -> Role | None:
        return next((r for r in self.roles if r.name == name and r.count > 0), None)
