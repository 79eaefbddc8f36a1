"""TensorFlow's coordination service, which worker 0 of a group hosts: who is there, who leaves.

MultiWorkerMirroredStrategy starts it as it finds it configured. The rest of it is reached through
the context, an internal API of TensorFlow 2.21: requirements/ holds that version.
"""

import contextlib
import os
import time
from collections.abc import Callable

import tensorflow as tf
from tensorflow.compiler.xla.tsl.protobuf import coordination_config_pb2
from tensorflow.python.eager import context

from launcher.contract import ENV_PARENT_PID

_LEADER = "/job:worker/replica:0/task:0"
_NEVER_MS = 2**62
"""Longer than any time that the service can measure: a clock that is set back makes it 2^64 us."""

_THROUGH, _ALL_THROUGH, _LEFT = "launcher/through/{}", "launcher/all-through", "launcher/left/{}"
_FAREWELL_SECONDS = 10.0
_LOOK_MS = 100
"""How long one look at a key may take: TensorFlow keeps Python's lock meanwhile, and with it the
watchdog waits."""

_CHIEF_LEAVES_LATER_SECONDS = 1.0


def configure(workers: int) -> None:
    """Before the strategy is made: no heartbeats where a supervisor watches the processes.

    TensorFlow counts them by the wall clock: when that was set by 10 s, or all processes were
    paused for as long, the group took its members for lost. The supervisor of a local run sees who
    has died or was stopped sooner than they do. Without one they stay as they are, 10 s.
    """
    if workers == 1 or ENV_PARENT_PID not in os.environ:
        return
    context.context().configure_coordination_service(
        service_type="standalone",
        service_leader=_LEADER,
        heartbeat_timeout_in_ms=_NEVER_MS,
        coordinated_jobs=[coordination_config_pb2.CoordinatedJob(name="worker", num_tasks=workers)],
    )


def leave_together(
    worker: int, workers: int, *, seconds: float, say: Callable[[str], None]
) -> None:
    """When this returns the worker may end its process at once.

    Who leaves takes with it what it has sent last and the others have not yet received: the end of
    an all-reduce. So all meet at the service, which is none: a worker is there when it has received
    everything. Worker 0, which hosts the service, waits until the others have said that they know.

    What worker 0 has saved is saved, whatever the others do: it says what went wrong, and returns.
    The others raise tf.errors.OpError when it does not come within `seconds`.
    """
    if workers == 1:
        return
    if worker:
        _put(_THROUGH.format(worker))
        _wait_for(_ALL_THROUGH, seconds)
        with contextlib.suppress(tf.errors.OpError):
            _put(_LEFT.format(worker))
        return
    try:
        for other in range(1, workers):
            _wait_for(_THROUGH.format(other), seconds)
        _put(_ALL_THROUGH)
        for other in range(1, workers):
            _wait_for(_LEFT.format(other), _FAREWELL_SECONDS)
    except tf.errors.OpError as e:
        say(f"leaving without a word of the others ({str(e).splitlines()[0][:200]})")
    time.sleep(_CHIEF_LEAVES_LATER_SECONDS)  # the last answer is on its way


def _put(key: str) -> None:
    context.context().set_config_key_value(key, "yes")


def _wait_for(key: str, seconds: float) -> None:
    """Until somebody has put it there. Raises tf.errors.OpError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            context.context().get_config_key_value(key, _LOOK_MS)
            return
        except tf.errors.DeadlineExceededError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_MS / 1000)
