"""An evaluator that asks for what the workers take, or for what somebody else holds: the training
comes first, and the last checkpoint is scored in the end."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.storage import read_jsonl
from tests.end_to_end.small_run import make_run
from tests.ray_backend.nodes import Nodes
from tests.ray_backend.ray_run import RayRun

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow, pytest.mark.timeout(1500)]

START_SECONDS = 30
"""After which Ray takes a job back that found no room; 900 by default."""
TRIES = 4
"""So many counted failures without a score would end the evaluator for good."""
STEPS = 20


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes(
        cpus=2, gpus=1, env={"RAY_JOB_START_TIMEOUT_SECONDS": str(START_SECONDS)}
    ) as cluster:
        yield cluster


def new_run(folder: Path, cluster: Nodes, *, steps: int, evaluate: str) -> RayRun:
    sections = f"evaluate: {{{evaluate}}}"
    make_run(folder, steps=steps, checkpoint_steps=10, stall_seconds=300.0, sections=sections)
    run = RayRun(folder, patience=400.0, address=cluster.url)
    run.spec.write_text(run.spec.read_text().replace("{workers: 2}", "{workers: 1}"))
    return run


def evaluators(cluster: Nodes) -> list[dict[str, object]]:
    return [job for job in cluster.jobs() if "-evaluator-" in str(job["submission_id"])]


def test_it_waits_for_what_others_hold_and_is_not_given_up(tmp_path: Path, cluster: Nodes) -> None:
    """A GPU that is somebody else's, a dashboard that does not answer, and SIGKILL."""
    run = new_run(tmp_path, cluster, steps=STEPS, evaluate="gpus: 1")
    held = cluster.hold(entrypoint_num_gpus=1)
    try:
        run.submit()
        run.wait(lambda: run.status().get("message"), "that it waits", 300)
        assert run.status()["state"] == "RUNNING"
        waits = "the evaluator waits for 1 GPU, which no node has free beside the workers"
        assert run.told()["message"] == waits
        assert not evaluators(cluster), "nothing is asked of Ray meanwhile"
        with cluster.stopped_dashboard():
            unanswered = "the evaluator is not started yet"
            run.wait(lambda: unanswered in run.status()["message"], "no answer", 600)
            assert run.status()["state"] == "EVALUATING"
        run.wait(lambda: "(its job is PENDING)" in run.status()["message"], "that it is queued", 90)
        (first,) = evaluators(cluster)  # though it was asked for more than once
        assert first["submission_id"] == f"{run.name}-0-evaluator-1"

        def taken_back() -> bool:
            kinds = [job["error_type"] for job in evaluators(cluster)]
            return kinds.count("JOB_SUPERVISOR_ACTOR_START_TIMEOUT") >= TRIES

        run.wait(taken_back, "jobs that found no room", TRIES * (START_SECONDS + 30))
        assert run.told()["state"] == "EVALUATING"
        assert run.told()["message"] == "the evaluator waits for 1 GPU (its job is PENDING)"
        cluster.let_go(held)
        os.kill(run.pid("evaluator"), signal.SIGKILL)
        told = run.wait_end(400)
        assert (told["state"], told["reason"]) == ("SUCCEEDED", "scored"), run.tell()
        last = read_jsonl(run.paths.eval_metrics)[-1]
        assert last["step"] == STEPS
        assert "left with exit code 137" in run.log(0, "supervisor")
        # What the dashboard and Prometheus have of it, to the end.
        run.wait(lambda: "map" in cluster.metrics(), "the score on a metrics port", 60)
        shown = cluster.metrics()
        assert shown["map"] == pytest.approx(last["mAP"])
        assert shown["step"] == STEPS
        assert {"loss", "learning_rate", "images_per_second"} <= set(shown)
        lines = [x for x in cluster.log_of(f"{run.name}-0").splitlines() if f" of {STEPS}: " in x]
        assert f"mAP {last['mAP']:.3f} at step {STEPS}" in lines[-1], lines
        assert f"step {STEPS} of {STEPS}: loss " in lines[-1]
        assert "images/s" in lines[-1]
    finally:
        cluster.let_go(held)
        run.end_all()


def test_the_workers_come_first(tmp_path: Path, cluster: Nodes) -> None:
    """Of two cores one is somebody else's. Then the evaluator has it, until somebody else takes the
    worker's between two attempts."""
    run = new_run(tmp_path, cluster, steps=5000, evaluate="cpus: 1")
    held = [cluster.hold(entrypoint_num_cpus=1)]
    try:
        run.submit()
        attempt = run.running()
        waits = "the evaluator waits for 1 CPU, which no node has free beside the workers"
        assert run.told()["message"] == waits
        assert run.pids().get("evaluator") is None
        cluster.let_go(held[0])
        evaluator = run.wait(lambda: run.pids().get("evaluator"), "the evaluator's turn", 200)
        run.wait(lambda: run.status()["message"] == "", "that it waits no more", 30)
        held.append(cluster.hold(entrypoint_num_cpus=1))
        os.kill(run.worker_pid(0), signal.SIGKILL)
        run.wait(lambda: run.steps_of(attempt + 1), "a step on the evaluator's core", 800)
        run.gone(evaluator, 5)
        assert "gives way to the workers" in run.log(attempt + 1, "supervisor")
        assert run.told()["message"] == waits
        assert run.told()["restarts"] == 1
    finally:
        for submission in held:
            cluster.let_go(submission)
        run.end_all()
