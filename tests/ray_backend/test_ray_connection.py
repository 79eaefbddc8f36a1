"""The driver's connection to a real Ray, made again."""

import shlex
import time

import pytest

from launcher.backends.ray import submission
from launcher.backends.ray.rest import ENDED, Dashboard
from tests.ray_backend.nodes import Nodes

pytestmark = pytest.mark.timeout(400)

CONNECTS = """
import os, signal, time
from launcher.backends.ray import group

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append("after"))
group.connect()
os.kill(os.getpid(), signal.SIGTERM)
print(asked)
group.ray.shutdown()

init = group.ray.init
def told_meanwhile(**options):
    init(**options)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(5)

group.ray.init = told_meanwhile
group.connect()
print(asked)
"""


def test_a_stop_is_heard_after_connecting_again_and_meanwhile() -> None:
    with Nodes(cpus=1) as cluster:
        entrypoint = shlex.join(["python", "-u", "-c", CONNECTS])
        runtime = {"env_vars": {"TF_USE_LEGACY_KERAS": "1"}}  # as the driver has it
        request = {"entrypoint": entrypoint, "submission_id": "connects", "runtime_env": runtime}
        submission.submit(cluster.url, request)
        dashboard = Dashboard(cluster.url, seconds=30.0)
        deadline = time.monotonic() + 200
        while (job := dashboard.job("connects"))["status"] not in ENDED:
            assert time.monotonic() < deadline, job
            time.sleep(0.5)
        said = dashboard.logs("connects")
    assert job["status"] == "SUCCEEDED", (job, said)
    assert "['after']\n" in said
    assert "['after', 'after']\n" in said
