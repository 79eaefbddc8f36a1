"""One attempt of a run: Ray Train's worker group, and its workers as the supervisor sees them."""

import contextlib
import signal
import threading
import time
from dataclasses import asdict
from typing import Any

import ray
from ray.train import ScalingConfig
from ray.train.tensorflow import TensorflowTrainer
from ray.train.v2.api.config import (
    CheckpointConfig,
    FailureConfig,
    RunConfig,
)  # ray.train's, which types hide

from launcher.backends.processes import Log
from launcher.backends.ray import agent
from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.meeting import MeetingConfig
from launcher.errors import StorageError, WorkerExit
from launcher.render.ray import RayJob
from launcher.render.supervised import WORKER, Process
from launcher.storage import FULL, passing, write_json

_WORKER_ENV = {"RAY_worker_niceness": "0"}
"""Ray's workers are at nice 15: below the evaluator, and below whatever else a machine does."""

_TELLING = ("died", "dead", "killed", "lost", "exit", "because")
_WRAPPED_AS = (
    "cause",
    "_base_exc",
    "__cause__",
    "controller_failure",
    "health_check_failure",
    "training_failed_error",
)
_POINTERS = 5  # to checkpoints, which Ray Train lists with their metrics (reports.py)
_LOOK_SECONDS = 0.3
_CLOSE_SECONDS = 30.0
_UNPLACED, _PREEMPTED = "WorkerGroupStartupTimeoutError", "PreemptionError"


class Group:
    """`trainer.fit()` in a thread. Restarts are the supervisor's: Ray Train has none."""

    def __init__(self, job: RayJob, workers: int, order: agent.Order, log: Log) -> None:
        self._channel = Channel(job.paths.root)
        self._attempt = order.attempt
        self._log = log
        self._signals: dict[str, list[int]] = {}
        self._trainer = TensorflowTrainer(
            agent.train,
            train_loop_config=asdict(order),
            tensorflow_config=MeetingConfig(),  # type: ignore[arg-type]
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=job.worker_needs.gpus > 0,
                resources_per_worker=job.worker_needs.bundle,
                placement_strategy=job.placement,
            ),
            run_config=RunConfig(  # type: ignore[arg-type]
                name=f"attempt-{order.attempt}",
                storage_path=str(self._channel.root / "ray" / "train"),
                worker_runtime_env={"env_vars": _WORKER_ENV},
                checkpoint_config=CheckpointConfig(num_to_keep=_POINTERS),
                failure_config=FailureConfig(
                    max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                ),
            ),
        )
        self._thread = threading.Thread(target=self._fit, name="fit", daemon=True)
        self.error: BaseException | None = None
        self.members = [RemoteWorker(self, job, self._channel, order, i) for i in range(workers)]

    def start(self) -> None:
        """Raises StorageError."""
        self._write_orders()
        for member in self.members:
            write_json(self._channel.state(self._attempt, member.process.index), {})
        self._thread.start()

    @property
    def placed(self) -> bool:
        """Whether all workers have been started on their nodes."""
        return all(member.ip for member in self.members)

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def signal(self, worker: int, number: signal.Signals) -> None:
        self._signals.setdefault(str(worker), []).append(int(number))
        with contextlib.suppress(StorageError):  # then they are killed with Ray's group
            self._write_orders()

    def close(self) -> None:
        """Let all agents go, and wait until Ray Train has ended. When it does not, our connection
        to Ray is closed, which ends all that it started."""
        with contextlib.suppress(StorageError):
            self._write_orders(leave=True)
        if not self.over:  # else it has ended, or was never started
            self._thread.join(_CLOSE_SECONDS)
        if self.over:
            return
        self._log(f"Ray Train has not ended its group within {_CLOSE_SECONDS:g} s: disconnecting")
        ray.shutdown()
        self._thread.join(_CLOSE_SECONDS)
        connect()

    def failure(self, worker: int) -> tuple[int, str]:
        """Why a worker that never told its end is gone: exit code and text. After `over`."""
        if self.error is None:
            return int(WorkerExit.PEER_LOST), "ended without a word"
        failures = getattr(self.error, "worker_failures", None) or {}
        own = failures.get(worker)
        if own is not None:
            return _code_and_text(own)
        if _causes_named(self.error, _PREEMPTED):
            return int(WorkerExit.STOPPED), "lost its node, which is being taken away"
        if failures:
            return int(WorkerExit.PEER_LOST), "was ended by Ray with the group"
        return _code_and_text(self.error)

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as e:
            self.error = e

    def _write_orders(self, leave: bool = False) -> None:
        value = {"signals": self._signals, "leave": leave}
        write_json(self._channel.orders(self._attempt), value)


def connect() -> Any:
    """To the cluster, with SIGTERM handled as before: ray.init sets a handler of its own, which
    raises SystemExit wherever the main thread is. What comes meanwhile is handed on."""
    handler, asked = signal.getsignal(signal.SIGTERM), False
    try:
        return ray.init(log_to_driver=True)
    except SystemExit:
        asked = True
        signal.alarm(0)  # by which Ray's native handler would abort this process 3 s later
    finally:
        signal.signal(signal.SIGTERM, handler)
        if asked:
            signal.raise_signal(signal.SIGTERM)


class RemoteWorker:
    """A worker's process on some node, by what its agent writes and Ray knows (a Member)."""

    waiting = ""

    def __init__(
        self, group: Group, job: RayJob, channel: Channel, order: agent.Order, index: int
    ) -> None:
        self._group = group
        self._state_file = channel.state(order.attempt, index)
        self._state: dict[str, Any] = {}
        self._looked = 0.0
        log = str(channel.paths.worker_log(order.attempt, index))
        self.process = Process(WORKER, index, ("python", *order.argv), {}, log)
        self.code: int | None = None
        self.told = ""

    @property
    def label(self) -> str:
        return f"{WORKER}-{self.process.index}"

    @property
    def identity(self) -> str:
        if "pid" not in self._state:
            return "not yet placed"
        return f"pid {self._state['pid']} on {self._state['ip']}"

    @property
    def ip(self) -> str:
        """Of its node; empty: it is not yet placed."""
        return str(self._state.get("ip", ""))

    @property
    def node(self) -> str:
        """Ray's id of it; empty: its agent has not found the run's folder and the data there."""
        return str(self._state.get("node", ""))

    @property
    def frozen(self) -> bool:
        return self.code is None and bool(self._state.get("frozen"))

    def poll(self) -> int | None:
        if self.code is not None or time.monotonic() - self._looked < _LOOK_SECONDS:
            return self.code
        over = self._group.over  # before reading: what was written until then is read
        self._looked = time.monotonic()
        self._state = mapping(self._state_file) or self._state
        self.code = self._state.get("code")
        if self.code is None and over:
            self.code, self.told = self._group.failure(self.process.index)
            if self.told and "ip" in self._state:
                self.told = f"on node {self._state['ip']} {self.told}"
        return self.code

    def signal(self, number: signal.Signals) -> None:
        if self.code is not None:
            return
        self._looked = 0.0
        self._group.signal(self.process.index, number)
        if not (mapping(self._state_file) or self._state) and number != signal.SIGCONT:
            # Ray has not placed it: there is nothing to save. When it does, its agent leaves.
            self.code, self.told = int(WorkerExit.STOPPED), "was not placed yet"


def _code_and_text(error: BaseException) -> tuple[int, str]:
    """Of what Ray says about the end of a worker or of its controller."""
    for cause in _causes(error):
        if isinstance(cause, agent.WorkerRefusedError):
            return cause.code, cause.message
        if isinstance(cause, agent.WorkerLeftError):
            return cause.code, ""  # the code says it, as one that was written down
        if isinstance(cause, OSError) and (passing(cause) or cause.errno in FULL):
            return int(WorkerExit.STORAGE), f"could not be run by Ray ({cause})"
    text = _told(_causes(error)[-1])
    if _causes_named(error, _UNPLACED):
        return int(WorkerExit.STOPPED), f"could not be placed in time ({text})"
    return -int(signal.SIGKILL), f"was lost by Ray ({text})"


def _told(error: BaseException) -> str:
    """What a person wants of Ray's text of many lines: what died, and because of what."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in _TELLING)] or lines
    return f"{type(error).__name__}: {' '.join(telling[:3])}"[:400]


def _causes_named(error: BaseException, name: str) -> bool:
    """Ray's internal classes, by name: they are not for import, and may move."""
    return any(type(cause).__name__ == name for cause in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it was made of, in the ways of Ray's wrappers."""
    found: list[BaseException] = []
    queue = [error]
    while queue:
        one = queue.pop(0)
        if not isinstance(one, BaseException) or one in found:
            continue
        found.append(one)
        for name in _WRAPPED_AS:
            if isinstance(more := getattr(one, name, None), BaseException):
                queue.append(more)
    return found
