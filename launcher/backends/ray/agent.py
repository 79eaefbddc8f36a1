"""The training function that Ray Train runs on each worker: it starts the worker of any backend.

Ray runs it in a thread of an actor, where signals, os._exit and TensorFlow's process-wide state do
not work as a worker needs them. So the worker is a child process, `python -m launcher.runtime`, as
on one machine; this function watches it, passes signals on, and shows its log in the dashboard.
"""

import contextlib
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.train

from launcher.backends.processes import Child, exit_text
from launcher.backends.ray import leftovers, proof
from launcher.backends.ray.channel import Channel, mapping
from launcher.backends.ray.relay import Relay, say
from launcher.backends.ray.reports import Reporter
from launcher.contract import ENV_ATTEMPT, ENV_CPU_THREADS, ENV_PARENT_PID, ENV_TF_CONFIG
from launcher.errors import LauncherError, WorkerExit
from launcher.render import ray as render
from launcher.render.supervised import WORKER, Process
from launcher.storage import answering, write_json

_POLL_SECONDS = 0.2
_LEAVE_SECONDS = 120.0
"""Ray stops the whole group when one function ends badly: so it is the driver that says when."""
_TELL_SECONDS = 15.0
_UNSET = ("OMP_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL")
"""For actors only: Ray sets the first to their logical CPUs, we the second. A worker has
LAUNCHER_CPU_THREADS."""


class _WithCodeError(Exception):
    """A text for Ray's dashboard, and an exit code for the driver."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


class WorkerLeftError(_WithCodeError):
    """The worker's process did not end well; its code is given where the disk did not take it."""


class WorkerRefusedError(_WithCodeError):
    """The worker was not started. The code is what it would have left with."""


@dataclass(frozen=True)
class Order:
    """What every worker of an attempt gets from the driver. Ray's dashboard shows it to whoever
    asks: the values of cluster.env are in ray.json."""

    root: str
    attempt: int
    argv: tuple[str, ...]
    """After the Python executable."""
    threads: int | None
    """None: an equal share of the node's cores."""
    gpus: int
    token: str
    seen_on: tuple[str, ...] = ()
    """Ray's ids of nodes that have found the run's folder and the data in an earlier attempt."""


def train(config: dict[str, Any]) -> None:
    """`train_loop_per_worker`. Raises WorkerRefusedError, WorkerLeftError."""
    order = Order(**config)
    try:
        with answering(Path(order.root)):
            Agent(order).run()
    except LauncherError as e:
        raise WorkerRefusedError(str(e), int(e.worker_exit)) from None


class Agent:
    def __init__(self, order: Order) -> None:
        context = ray.train.get_context()
        self._order = order
        self._worker = context.get_world_rank()
        self._workers = context.get_world_size()
        self._on_node = context.get_local_world_size()
        self._channel = Channel(Path(order.root))
        runtime = ray.get_runtime_context()
        self._ip = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        self._node = runtime.get_node_id()
        self._applied = 0
        self._told: dict[str, Any] = {}

    def run(self) -> None:
        """Until the worker has left, and until the driver lets go after a bad end."""
        order, where = self._order, f"node {self._ip} ({self._node[:8]}, worker-{self._worker})"
        proof.check_folder(
            self._channel,
            order.attempt,
            order.token,
            self._worker,
            self._workers,
            where,
            seen=self._node in order.seen_on,
        )
        proof.check_data(mapping(self._channel.data(order.attempt)), where)
        leftovers.end(self._channel.root)
        given = mapping(self._channel.orders(order.attempt))
        if given.get("leave") or given.get("signals", {}).get(str(self._worker)):
            return  # the run was cancelled while Ray placed the group
        child = Child(self._process())
        say(f"worker-{self._worker} is process {child.pid} on {self._ip}")
        relay = Relay(Path(child.process.log))
        reporter = Reporter(self._channel.paths, self._worker, order.attempt)
        reporter.start()
        try:
            while child.poll() is None:
                self._tell(child)
                self._obey(child)
                relay.pass_on()
                time.sleep(_POLL_SECONDS)
        finally:
            reporter.stop()
            if child.poll() is None:
                child.signal(signal.SIGKILL)
        relay.pass_on()
        self._end(child, self._tell_end(child))

    def _process(self) -> Process:
        order = self._order
        job = render.RayJob.read(self._channel.root / render.JOB_FILE)
        role = job.role(WORKER)
        given = dict(role.env) if role else {}
        cores = len(os.sched_getaffinity(0))
        threads = order.threads or max(1, cores // self._on_node)
        env = {
            **given,
            ENV_ATTEMPT: str(order.attempt),
            ENV_CPU_THREADS: str(threads),
            ENV_PARENT_PID: str(os.getpid()),
            "PYTHONUNBUFFERED": "1",
        }
        if self._workers > 1:
            env[ENV_TF_CONFIG] = os.environ[ENV_TF_CONFIG]
        if not order.gpus:
            env["CUDA_VISIBLE_DEVICES"] = "-1"
        for name in _UNSET:
            if name not in given:
                os.environ.pop(name, None)
        log = self._channel.paths.worker_log(order.attempt, self._worker)
        return Process(WORKER, self._worker, (sys.executable, *order.argv), env, str(log))

    def _tell_end(self, child: Child) -> bool:
        """Whether the exit code is written down. A disk that is full may have room in a moment."""
        deadline = time.monotonic() + _TELL_SECONDS
        while not (told := self._tell(child)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        return told

    def _tell(self, child: Child) -> bool:
        """Whether the driver can read how it stands with the worker."""
        state = {
            "pid": child.pid,
            "node": self._node,
            "ip": self._ip,
            "frozen": child.frozen,
            "code": child.code,
        }
        if state != self._told:
            # A full disk must not end the watching; the driver hears of the end from Ray then.
            with contextlib.suppress(LauncherError):
                write_json(self._channel.state(self._order.attempt, self._worker), state)
                self._told = state
        return state == self._told

    def _obey(self, child: Child) -> None:
        given = mapping(self._channel.orders(self._order.attempt)).get("signals", {})
        numbers = given.get(str(self._worker), [])
        for number in numbers[self._applied :]:
            child.signal(signal.Signals(number))
        self._applied = max(self._applied, len(numbers))

    def _end(self, child: Child, told: bool) -> None:
        """A driver that cannot read of the end is told by Ray, at once."""
        wanted = child.code == WorkerExit.STOPPED and self._applied
        if child.code == WorkerExit.DONE or wanted:
            return
        deadline = time.monotonic() + _LEAVE_SECONDS
        while told and time.monotonic() < deadline:
            if mapping(self._channel.orders(self._order.attempt)).get("leave"):
                break
            time.sleep(_POLL_SECONDS)
        raise WorkerLeftError(f"worker-{self._worker} {exit_text(child.code)}", child.code or 0)
