"""Two real workers that leave: neither takes with it what the other has not received."""

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from launcher.backends.processes import free_hosts
from launcher.contract import ENV_PARENT_PID, ENV_TF_CONFIG, tf_config
from tests.runtime.small_pipelines import CONFIGS

pytestmark = pytest.mark.tensorflow

LATE_SECONDS = 2.0

WORKER = f"""
import json, os, sys, time
import tensorflow as tf
from launcher.runtime import coordination, devices
devices.limit_threads(1)
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
coordination.configure(2)
strategy = tf.distribute.MultiWorkerMirroredStrategy()

@tf.function
def meet():
    return strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)

assert float(meet()) == 2.0
if index == 1 and sys.argv[1] == "one dies":
    time.sleep(0.5)
    os._exit(1)
began = time.monotonic()
if index == 0:
    time.sleep({LATE_SECONDS})
coordination.leave_together(index, 2, seconds=float(sys.argv[2]), say=print)
print(f"{{time.monotonic() - began:.2f}} s", flush=True)
os._exit(0)
"""


def pair(*arguments: str) -> "list[subprocess.Popen[str]]":
    hosts = free_hosts(2)
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", ENV_PARENT_PID: str(os.getpid())}
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            cwd=CONFIGS.parent, env=env | {ENV_TF_CONFIG: tf_config(hosts, index)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for index in (0, 1)
    ]  # fmt: skip


def ended(processes: "Sequence[subprocess.Popen[str]]") -> list[tuple[int, list[str]]]:
    """The exit code of each, and the lines that it said."""
    told = []
    for process in processes:
        out, errors = process.communicate(timeout=120)
        assert out, errors[-2000:]
        told.append((process.returncode, out.splitlines()))
    return told


def test_all_are_through_before_one_leaves() -> None:
    """One that had left before the late one was through would have taken its last words along."""
    together, chief_alone = pair("both leave", "60"), pair("one dies", "1")
    (late_code, late), (code, waited) = ended(together)
    assert (late_code, code) == (0, 0)
    assert [len(late), len(waited)] == [1, 1], "nobody had anything to complain of"
    assert float(waited[0].split()[0]) > LATE_SECONDS - 0.5

    # What worker 0 has saved is saved: it leaves as it would have.
    chief_alone[1].wait(timeout=120)
    ((code, said),) = ended(chief_alone[:1])
    assert code == 0
    assert said[0].startswith("leaving without a word of the others (")
