"""`python -m launcher.pod ROLE RUN_ROOT`: one container, from its manifest to its exit code.

The roles: worker and evaluator; and driver, in a Ray cluster, where the supervisor of the Ray
backend takes over when the plan is in the run's folder.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.contract import (
    DRIVER_ROLE,
    ENV_ATTEMPT,
    ENV_PARENT_PID,
    ENV_PLAN_DIR,
    ENV_TF_CONFIG,
    EVALUATOR_MODULE,
    WORKER_MODULE,
    RunPaths,
    plan_digest,
    tf_config,
)
from launcher.errors import ConfigError, LauncherError, StorageError, WorkerExit
from launcher.pod import driver, ending, folder, identity, meeting
from launcher.pod.child import Signals, Stopped, write_both
from launcher.pod.identity import Identity
from launcher.pod.room import Room
from launcher.run_record import begin_again
from launcher.storage import discard, leave_within
from launcher.worker_config import WorkerConfig

_MODULES = {"worker": WORKER_MODULE, "evaluator": EVALUATOR_MODULE}


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    pod = Pod(args.role, RunPaths(args.root))
    words = error = ""
    try:
        if args.role == DRIVER_ROLE:
            driver.become(pod.paths, Path(_required(os.environ, ENV_PLAN_DIR)), os.environ)
        code = pod.run(os.environ)
    except Stopped:
        words = "stopped before it began"
        code = int(WorkerExit.STOPPED)
    except LauncherError as e:
        error = str(e)
        words = f"error: {error}"
        code = int(e.worker_exit)
    overdue = leave_within(ending.END_SECONDS, ending.uncounted(pod.me, code))
    if words:
        pod.say(words)
    if error:
        ending.tell(pod.paths, pod.me, code, error)
    left = ending.end(pod.paths, pod.me, pod.attempt, code)
    if left < code:
        pod.say(f"{code} on the last start that is allowed: left with {left}, which is final")
    overdue.cancel()
    return left


class Pod:
    """One start of one container. What is known of it grows while it prepares."""

    def __init__(self, role: str, paths: RunPaths) -> None:
        self.paths = paths
        self.me = Identity(role)
        self.attempt: int | None = None
        self._log: int | None = None
        self._signals = Signals()

    def run(self, env: Mapping[str, str]) -> int:
        """Until the worker or the evaluator has ended: its exit code. Raises LauncherError for
        what keeps it from starting, Stopped when it is told to leave before."""
        plans = Path(_required(env, ENV_PLAN_DIR))
        config = WorkerConfig.read(plans / self.paths.plan.name)
        self.me = identity.read(self.me.role, config.workers, env)
        files = folder.mounted(plans)
        room = Room(self.paths, self.me, config.workers, self.say)
        attempt, log = self._enter(files, room)
        self.say(f"{self.me.who}, start {attempt}")
        discard(self.paths.failure(self.me.role, self.me.index))
        if self.me.role == "worker" and self.me.index == 0:
            begin_again(self.paths)
        if why := ending.used_up(self.paths, self.me, attempt):
            self.say(f"error: {why}")
            ending.tell(self.paths, self.me, ending.UNKNOWN, why)
            return ending.UNKNOWN
        if len(self.me.hosts) > 1 and folder.is_trained(self.paths, config.total_steps):
            self.say(f"the last step, {config.total_steps}, is done: nothing is left to train")
            return int(WorkerExit.DONE)
        if room.was_missing(attempt):
            room.wait(self._show_life)
        if len(self.me.hosts) > 1:
            self.say(f"meeting {len(self.me.hosts) - 1} other workers")
            meeting.meet(self.paths, self.me, plan_digest(files), _version(), self.say)
        argv = [sys.executable, "-m", _MODULES[self.me.role], str(self.paths.root)]
        return self._signals.run(argv, child_env(env, self.me, attempt), log)

    def _enter(self, files: Mapping[str, str], room: Room) -> tuple[int, int]:
        """The number of this start and its log, when the plan's files are there: a full disk is
        waited for. Raises as `run`."""
        while True:
            try:
                if folder.publish(self.paths, files):
                    self.say(f"the plan is in {self.paths.root}")
                discard(self.paths.status)  # another backend's, which the evaluator would believe
                folder.check_writable(self.paths, self.me.who)
                found = folder.claim(self.paths, self.me.who)
            except StorageError as e:
                if not room.missing():
                    raise
                self.say(f"error: {e}")
                room.wait(self._show_life)
            else:
                self.attempt, self._log = found
                return found

    def _show_life(self) -> None:
        log = folder.last_log(self.paths, self.me.who) if self._log is None else self._log
        if log is not None:
            with contextlib.suppress(OSError):
                os.utime(log)

    def say(self, text: str) -> None:
        write_both(f"{time.strftime('%H:%M:%S')} {text}\n".encode(), self._log)


def child_env(env: Mapping[str, str], me: Identity, attempt: int) -> dict[str, str]:
    """What the worker and the evaluator know of their environment: nothing of Kubernetes."""
    found = {k: v for k, v in env.items() if k not in (ENV_TF_CONFIG, ENV_PARENT_PID)}
    found[ENV_ATTEMPT] = str(attempt)
    if len(me.hosts) > 1:
        found[ENV_TF_CONFIG] = tf_config(me.hosts, me.index)
    return found


def _version() -> str:
    """What must be the same in all workers: the code, and the packages that compute."""
    from launcher.odapi import provenance

    found = provenance.versions()
    return (
        f"{found['launcher source']} (TensorFlow {found.get('tensorflow', 'none')}, "
        f"Python {found['python']})"
    )


def _required(env: Mapping[str, str], name: str) -> str:
    if not env.get(name):
        raise ConfigError(
            "is not set", place=name, remedy="Start containers with what `launcher render` prints"
        )
    return env[name]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m launcher.pod",
        description="Run one part of a run in a container of Kubernetes.",
    )
    parser.add_argument("role", choices=[*_MODULES, DRIVER_ROLE])
    parser.add_argument("root", type=Path, metavar="RUN_ROOT", help="<run_dir>/<name>")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
