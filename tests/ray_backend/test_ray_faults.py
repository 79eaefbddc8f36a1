"""Two of the faults of docs/ray.md, happening to one run: a Ray of its own, two workers.

The others are in test_ray_cluster_faults.py.
"""

import os
import signal
from collections.abc import Iterator

import pytest

from launcher.backends.ray.channel import Channel, mapping
from tests.end_to_end.small_run import make_run
from tests.ray_backend.ray_run import RayRun, rays_left

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]

CHECKPOINT_STEPS = 4


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRun]:
    folder = tmp_path_factory.mktemp("ray-faults")
    make_run(folder, steps=5000, checkpoint_steps=CHECKPOINT_STEPS, stall_seconds=60.0)
    run = RayRun(folder, patience=400.0)
    yield run
    run.end_all()


def test_kill_of_a_worker_and_of_the_evaluator(run: RayRun) -> None:
    attempt = run.running()
    evaluator = run.pid("evaluator")
    os.kill(evaluator, signal.SIGKILL)
    run.wait(lambda: run.saved(), "a checkpoint", 120)
    worker, before = run.worker_pid(1), run.steps_of(attempt)[-1]
    os.kill(worker, signal.SIGKILL)
    told = run.wait_attempt(attempt + 1, 120)
    assert told["reason"] == "crashed"
    assert told["message"].startswith("worker-1 was killed by SIGKILL"), told["message"]
    run.wait(lambda: run.steps_of(attempt + 1), "a step of the next attempt", 200)
    last = max(run.steps_of(attempt)[-1], before)
    first = run.steps_of(attempt + 1)[0]
    assert last - CHECKPOINT_STEPS - 1 <= first - 1 <= last, "lost what was not saved, no more"
    assert first - 1 in run.saved() or first - 1 <= min(run.saved())
    run.wait_evaluator(other_than=evaluator)
    assert run.status()["restarts"] == 1, "the evaluator's restart is not the group's"
    assert "evaluator (Ray job small-0-evaluator-1): left with exit code 137" in run.log(
        attempt, "supervisor"
    ) + run.log(attempt + 1, "supervisor")


def test_cancel_while_it_trains_saves_and_leaves_nothing(run: RayRun) -> None:
    attempt = run.running()
    done = run.launcher("cancel", run.name)
    assert done.returncode == 0, done.stderr
    assert run.told()["state"] == "CANCELLED"
    assert run.saved()[-1] == run.steps_of(attempt)[-1]
    assert not rays_left(run.paths.root)
    again = run.launcher("cancel", run.name)
    assert again.returncode == 0, "idempotent"
    assert run.told()["state"] == "CANCELLED"


@pytest.mark.slow
def test_end_of_its_ray_is_told_and_leaves_nothing(run: RayRun) -> None:
    run.running()
    run.pid("evaluator")
    keeper = mapping(Channel(run.paths.root).head)["pid"]
    os.kill(keeper, signal.SIGKILL)
    run.wait(lambda: run.told()["state"] == "FAILED", "what became of it", 60)
    assert run.told()["reason"] == "supervisor-lost"
    run.wait(lambda: not rays_left(run.paths.root), "the end of all processes", 120)
