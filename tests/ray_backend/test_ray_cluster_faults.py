"""What happens to a cluster's nodes, its head and its processes, happening to runs on it.

One cluster, a head and two nodes of one CPU each; one run takes the faults of the first tests, one
after the other, because TensorFlow's start is what takes the time. Those of a loss, a
configuration, a folder and data that no restart can mend have runs of their own.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.odapi import pipeline
from launcher.render.supervised import SupervisedJob
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import SINGLE, blocked_by_a_fifo, make_run
from tests.end_to_end.test_final_faults import cut_an_image
from tests.ray_backend.nodes import Nodes
from tests.ray_backend.ray_run import RayRun

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow, pytest.mark.timeout(900)]

STEPS = 120
CHECKPOINT_STEPS = 5
STALL_SECONDS = 25.0
FROZEN_SECONDS = SupervisedJob.frozen_seconds
LEAVE_SECONDS = 40.0
"""How soon the next attempt has begun when one of the group is gone, on a busy machine."""
READ_AHEAD_SECONDS = 150.0
"""What is read already when the input blocks: some tens of batches, at the pace of the steps."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with Nodes() as cluster:
        cluster.add()
        cluster.add()
        yield cluster


def new_run(folder: Path, cluster: Nodes, *, steps: int = STEPS, sections: str = "") -> RayRun:
    make_run(
        folder,
        steps=steps,
        checkpoint_steps=CHECKPOINT_STEPS,
        stall_seconds=STALL_SECONDS,
        max_restarts=8,
        sections=sections,
    )
    return RayRun(folder, patience=400.0, address=cluster.url)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, cluster: Nodes) -> Iterator[RayRun]:
    run = new_run(tmp_path_factory.mktemp("faults"), cluster)
    yield run
    run.end_all()


@pytest.fixture
def other(tmp_path: Path, cluster: Nodes) -> Iterator[RayRun]:
    run = new_run(tmp_path, cluster)
    yield run
    run.end_all()


def restarts(run: RayRun) -> int:
    return int(run.status()["restarts"])


def test_submitting_twice_at_once_and_a_name_that_runs(run: RayRun, cluster: Nodes) -> None:
    argv = [sys.executable, "-m", "launcher", "submit", run.spec.name, "--detach"]
    argv += ["--backend", "ray", "--address", cluster.url]
    env = {**os.environ, "XDG_STATE_HOME": str(run.folder / "state")}
    both = [
        subprocess.Popen(argv, cwd=run.folder, env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], said
    (refused,) = (text for process, text in zip(both, said, strict=True) if process.returncode)
    assert "Traceback" not in refused
    assert "error: " in refused.splitlines()[-1]
    attempt = run.running()
    for options in ([], ["--resume"], ["--replace"]):
        done = run.launcher(
            "submit", run.spec.name, "--backend", "ray", "--address", cluster.url, *options
        )
        assert done.returncode == 2
        assert "is already running: RUNNING at step" in done.stderr
    assert run.status()["attempt"] == attempt
    drivers = [job for job in cluster.jobs() if "ray.driver" in (job.get("entrypoint") or "")]
    assert [job["submission_id"] for job in drivers] == ["small-0"]


def test_stop_of_a_worker_is_noticed_and_named(run: RayRun) -> None:
    attempt, used = run.running(), restarts(run)
    began = time.monotonic()
    os.kill(run.worker_pid(1), signal.SIGSTOP)
    told = run.wait_attempt(attempt + 1, FROZEN_SECONDS + LEAVE_SECONDS)
    print(f"SIGSTOP: next attempt after {time.monotonic() - began:.0f} s")
    assert told["reason"] == "peer-lost"
    assert told["message"].startswith("worker-1 was stopped by a signal (SIGSTOP)")
    assert restarts(run) == used + 1


def test_input_that_blocks_is_noticed_and_named_with_its_stacks(run: RayRun) -> None:
    attempt, used = run.running(), restarts(run)
    record = run.folder / "data" / SINGLE
    (blocked,) = blocked_by_a_fifo(run, record)
    told = run.wait_attempt(attempt + 1, READ_AHEAD_SECONDS + STALL_SECONDS + LEAVE_SECONDS)
    last = max(row["time"] for row in run.rows() if row["attempt"] == attempt)
    begun = min(e["time"] for e in read_jsonl(run.paths.events) if e["attempt"] == attempt + 1)
    print(f"blocked input: next attempt {begun - last:.0f} s after the last step")
    assert begun - last < STALL_SECONDS + LEAVE_SECONDS
    assert told["reason"] == "peer-lost"
    named = re.match(r"(worker-\d): waiting for input since (\d+) s: ", told["message"])
    assert named, told["message"]
    assert named[1] == blocked
    assert f"{record}: record 0 at byte 0 cannot be read" in told["message"]
    assert "most recent call first" in run.log(attempt, named[1])
    assert restarts(run) == used + 1


def test_a_lost_node_is_waited_for(run: RayRun, cluster: Nodes) -> None:
    attempt, used = run.running(), restarts(run)
    saved = run.saved()
    cluster.kill_raylet(sorted(cluster.others())[-1])
    began = time.monotonic()
    run.wait(lambda: "waiting for room" in str(run.status().get("message")), "that it waits", 60)
    print(f"node lost: says what it waits for after {time.monotonic() - began:.0f} s")
    told = run.told()
    assert (told["state"], told["reason"]) == ("RESTARTING", "waiting")
    wanted = "waiting for room for 2 workers with 1 CPU each: there is room for 1."
    assert told["message"].startswith(wanted), told["message"]
    assert "127.0.0.3 has 1 of 1 CPU free" in told["message"]
    cluster.add()
    run.wait(lambda: run.steps_of(attempt + 1), "a step of the next attempt", 200)
    assert run.steps_of(attempt + 1)[0] > (saved[-1] if saved else 0), "from the last checkpoint"
    assert restarts(run) == used + 1


def test_two_cancels_at_once_while_it_waits_for_a_lost_node(run: RayRun, cluster: Nodes) -> None:
    attempt = run.running()
    cluster.kill_raylet(sorted(cluster.others())[-1])
    run.wait(lambda: run.status()["state"] == "RESTARTING", "the next attempt", LEAVE_SECONDS)
    run.wait(lambda: "waiting for room" in run.status()["message"], "that it waits", 60)
    saved = run.saved()
    argv = [sys.executable, "-m", "launcher", "cancel", run.name]
    env = {**os.environ, "XDG_STATE_HOME": str(run.folder / "state")}
    both = [
        subprocess.Popen(argv, cwd=run.folder, env=env, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert run.told()["state"] == "CANCELLED"
    assert run.status()["attempt"] == attempt + 1
    assert run.saved() == saved, "what was saved stays"
    assert not [job for job in cluster.jobs() if job["status"] in ("PENDING", "RUNNING")]
    cluster.add()


def test_death_of_the_driver_is_told_and_resumed(run: RayRun, cluster: Nodes) -> None:
    attempt = run.running()
    workers = [run.worker_pid(0), run.worker_pid(1)]
    os.kill(run.supervisor(), signal.SIGKILL)
    began = time.monotonic()
    run.wait(lambda: run.told()["state"] == "FAILED", "what became of it", 60)
    print(f"driver killed: told after {time.monotonic() - began:.0f} s")
    told = run.told()
    assert told["reason"] == "supervisor-lost"
    assert "`launcher submit SPEC --resume` continues it" in told["message"]
    for pid in workers:
        run.gone(pid, LEAVE_SECONDS)
    last = run.saved()[-1]
    run.wait(lambda: run.pids().get("evaluator") is None, "the end of the evaluator", 120)
    assert read_jsonl(run.paths.eval_metrics)[-1]["step"] == last, "the last checkpoint is scored"
    run.submit("--resume")
    run.wait(lambda: run.steps_of(attempt + 1), "a step of the resumed run", 200)
    assert run.steps_of(attempt + 1)[0] == last + 1


def test_a_restart_of_the_head_is_told_and_resumed_to_the_end(run: RayRun, cluster: Nodes) -> None:
    run.running()
    cluster.kill_head()
    began = time.monotonic()
    for ip in list(cluster.others()):
        cluster.remove(ip)
    cluster.start_head()
    run.wait(lambda: run.told()["state"] == "FAILED", "what became of it", 60)
    print(f"head restarted: told after {time.monotonic() - began:.0f} s")
    assert run.told()["reason"] == "supervisor-lost"
    listed = json.loads(run.launcher("list", "--json").stdout)
    assert [row["state"] for row in listed if row["name"] == run.name] == ["FAILED"]
    page = run.launcher("dashboard", run.name)
    assert page.returncode == 2
    assert "does not know its job" in page.stderr
    cluster.add()
    cluster.add()
    run.submit("--resume")
    told = run.wait_end()
    assert (told["state"], told["reason"], told["step"]) == ("SUCCEEDED", "scored", STEPS)
    *before, last = run.paths.eval_metrics.read_text().splitlines()
    assert json.loads(last)["step"] == STEPS
    run.paths.eval_metrics.write_text("".join(f"{line}\n" for line in before))
    known = {job["submission_id"] for job in cluster.jobs()}
    again = run.launcher("evaluate", run.name, "--backend", "ray")
    assert again.returncode == 0, again.stderr
    told_job = re.search(rf"Ray job ({run.name}-\d+-evaluator-\d+) at {cluster.url}", again.stderr)
    assert told_job, again.stderr
    (job,) = [job for job in cluster.jobs() if job["submission_id"] not in known]
    assert (job["submission_id"], job["status"]) == (told_job[1], "SUCCEEDED")
    anew = json.loads(run.paths.eval_metrics.read_text().splitlines()[-1])
    assert (anew["step"], anew["mAP"]) == (STEPS, pytest.approx(json.loads(last)["mAP"]))


def test_cancel_while_it_waits_for_room_and_while_it_scores(other: RayRun, cluster: Nodes) -> None:
    spec = other.spec.read_text()
    other.spec.write_text(spec.replace("{workers: 2}", "{workers: 4, cpus_per_worker: 1}"))
    three = ["--set", "batch.per_replica_batch=2"]
    other.submit(*three)
    other.wait(lambda: other.told()["reason"] == "waiting", "that it waits", 60)
    assert other.told()["state"] == "PENDING"
    assert "waiting for room for 4 workers" in other.told()["message"]
    assert other.launcher("cancel", other.name).returncode == 0
    assert other.told()["state"] == "CANCELLED"

    other.spec.write_text(spec)
    other.submit("--replace")
    other.running()
    evaluator = other.pid("evaluator")
    os.kill(evaluator, signal.SIGSTOP)
    other.wait(lambda: other.status()["state"] == "EVALUATING", "the end of the training", 300)
    assert other.launcher("cancel", other.name).returncode == 0
    assert other.told()["state"] == "CANCELLED"
    other.gone(evaluator, 5)
    assert other.saved()[-1] == STEPS


def test_loss_that_is_not_finite_is_not_tried_again(other: RayRun) -> None:
    message = pipeline.read(other.folder / "small.config")
    rate = message.train_config.optimizer.momentum_optimizer.learning_rate
    rate.ClearField("cosine_decay_learning_rate")
    rate.manual_step_learning_rate.initial_learning_rate = 0.01
    rate.manual_step_learning_rate.schedule.add(step=4, learning_rate=1e12)
    pipeline.write(other.folder / "small.config", message)
    other.submit()
    told = other.wait_end()
    assert (told["state"], told["reason"]) == ("FAILED", "diverged"), other.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert "the loss is" in told["message"]


def test_bad_data_is_not_tried_again(other: RayRun) -> None:
    cut_an_image(other.folder / "data" / "train.record-00002-of-00004", 3)
    other.submit("--force")  # the check would tell, of so few
    told = other.wait_end()
    assert (told["state"], told["reason"]) == ("FAILED", "bad-data"), other.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert "train.record-00002-of-00004: record 3" in told["message"]


def test_bad_configuration_is_not_tried_again(other: RayRun, cluster: Nodes) -> None:
    """Someone writes into the run's folder while it waits for its second node."""
    lost = sorted(cluster.others())[-1]
    cluster.remove(lost)
    other.submit()
    other.wait(lambda: other.told()["reason"] == "waiting", "that it waits", 60)
    other.paths.pipeline.write_text("model {")
    cluster.add()
    told = other.wait_end()
    assert (told["state"], told["reason"]) == ("FAILED", "bad-config"), other.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert str(other.paths.pipeline) in told["message"]


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs a mount")
@pytest.mark.parametrize("what", ["runs", "data"])
def test_a_folder_that_one_node_does_not_share(other: RayRun, cluster: Nodes, what: str) -> None:
    lost = sorted(cluster.others())[-1]
    cluster.remove(lost)
    (other.folder / what).mkdir(exist_ok=True)
    alone = cluster.add(without=other.folder / what)
    try:
        other.submit()
        told = other.wait_end()
    finally:
        cluster.remove(alone)
        cluster.add()
    assert told["state"] == "FAILED", other.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert f"node {alone} " in told["message"]
    if what == "runs":
        assert "run_dir is not the same place for all nodes" in told["message"]
    else:
        assert told["reason"] == "bad-data"
