"""What a container does, from its manifest to its exit code: real processes (pods.py)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.processes import free_hosts
from launcher.contract import RunPaths
from launcher.planning import Plan
from launcher.storage import read_json, read_jsonl, write_json
from tests.pod.pods import ROOT, child_of, end, mount, plan_of, start


def test_an_evaluator_without_val_images_says_so_in_the_runs_folder(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "runs")
    code, log = end(start("evaluator", plan, mount(plan, tmp_path / "plan")))
    paths = RunPaths(plan.root)
    assert code in (64, 65), log
    assert paths.evaluator_log(0).read_text() in log, "both logs have the process's words"
    assert "error: " in paths.evaluator_log(0).read_text()
    assert read_json(paths.exit(0, "evaluator"))["exit"] == code
    assert read_json(paths.failure("evaluator"))["exit"] == code
    assert not paths.given_up.exists(), "its failure is not the training's"


def test_a_worker_that_waits_for_others_leaves_when_it_is_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "runs", "cluster.workers=2")
    hosts = ",".join(free_hosts(2))
    plans = mount(plan, tmp_path / "plan")
    process = start("worker", plan, plans, JOB_COMPLETION_INDEX="1", LAUNCHER_HOSTS=hosts)
    log = RunPaths(plan.root).worker_log(0, 1)
    deadline = time.monotonic() + 30
    while not (log.exists() and "meeting 1 other" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    code, said = end(process, 20)
    assert code == 143, said
    assert "stopped before it began" in said


def test_a_worker_that_failed_at_the_very_end_does_not_wait_for_those_that_left(
    tmp_path: Path,
) -> None:
    plan = plan_of(tmp_path / "runs", "cluster.workers=2")
    paths = RunPaths(plan.root)
    plans, hosts = mount(plan, tmp_path / "plan"), ",".join(free_hosts(2))
    paths.checkpoints.mkdir(parents=True)
    (paths.checkpoints / f"ckpt-{plan.total_steps}.index").touch()
    (paths.checkpoints / "checkpoint").write_text(
        f'model_checkpoint_path: "ckpt-{plan.total_steps}"\n'
        f'all_model_checkpoint_paths: "ckpt-{plan.total_steps}"\n'
    )
    process = start("worker", plan, plans, JOB_COMPLETION_INDEX="1", LAUNCHER_HOSTS=hosts)
    code, said = end(process, 30)
    assert code == 0, said
    assert "nothing is left to train" in said


@pytest.mark.parametrize("role", ["worker", "evaluator"])
def test_the_last_word_of_another_backend_is_not_believed(tmp_path: Path, role: str) -> None:
    """Of a local run that was cancelled, or failed on Ray, and goes on in pods, who write none."""
    plan = plan_of(tmp_path / "runs", "cluster.workers=1")
    paths = RunPaths(plan.root)
    write_json(paths.status, {"name": plan.name, "state": "CANCELLED", "reason": "cancelled"})
    process = start(role, plan, mount(plan, tmp_path / "plan"), JOB_COMPLETION_INDEX="0")
    os.kill(child_of(process.pid), signal.SIGKILL)
    assert end(process)[0] == 137
    assert not paths.status.exists()


ENDS_ON_A_DISK_THAT_HANGS = """
import os, sys
from launcher.errors import PeerLostError
from launcher.pod import __main__, ending
from launcher.pod.identity import Identity

root, where, offset = sys.argv[1:]

def run(pod, env):
    pod.me = Identity("worker", exit_offset=int(offset))
    if where == "tell":
        raise PeerLostError("lost another worker")
    return 75

ending.END_SECONDS = 1.0
setattr(ending, where, lambda *_: os.open(root + "/hangs", os.O_WRONLY))  # a FIFO without a reader
__main__.Pod.run = run
os._exit(__main__.main(["worker", root]))
"""


@pytest.mark.parametrize("where", ["end", "tell"])
@pytest.mark.parametrize(("offset", "expected"), [("0", 75), ("128", 203)])
def test_last_words_that_their_disk_does_not_take_keep_no_pod(
    tmp_path: Path, where: str, offset: str, expected: int
) -> None:
    os.mkfifo(tmp_path / "hangs")
    argv = [sys.executable, "-c", ENDS_ON_A_DISK_THAT_HANGS, str(tmp_path), where, offset]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert done.returncode == expected, done.stderr


TFJOB = {"LAUNCHER_INDEX": "0", "LAUNCHER_EXIT_OFFSET": "128", "LAUNCHER_MAX_RESTARTS": "1"}


def test_a_tfjobs_worker_that_a_signal_ends_is_not_started_for_ever(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "runs", "cluster.workers=1")
    plans = mount(plan, tmp_path / "plan")
    for expected in (137, 9):
        process = start("worker", plan, plans, **TFJOB)
        os.kill(child_of(process.pid), signal.SIGKILL)
        code, log = end(process)
        assert code == expected, log
    assert log.splitlines()[-1].endswith(
        "137 on the last start that is allowed: left with 9, which is final"
    )
    assert read_json(RunPaths(plan.root).given_up)["exit"] == 137


def test_a_tfjobs_worker_that_is_killed_whole_is_not_started_for_ever(tmp_path: Path) -> None:
    """As by the kernel when the container's memory is used up: nothing of it says a word."""
    plan = plan_of(tmp_path / "runs", "cluster.workers=1")
    plans = mount(plan, tmp_path / "plan")
    for _ in range(2):
        process = start("worker", plan, plans, **TFJOB)
        child_of(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        assert end(process)[0] == -signal.SIGKILL
    process = start("worker", plan, plans, **TFJOB)
    code, log = end(process)
    assert code == 1, log
    assert "error: worker-0 has failed 2 times" in log
    assert "restart.max_restarts" in read_json(RunPaths(plan.root).given_up)["message"]


def test_the_environment_of_kubernetes_is_checked(tmp_path: Path) -> None:
    plan = plan_of(tmp_path / "runs")
    code, log = end(start("worker", plan, tmp_path / "nothing", JOB_COMPLETION_INDEX="0"))
    assert code == 64
    assert "no such file" in log
    assert not plan.root.exists()
    code, log = end(start("worker", plan, mount(plan, tmp_path / "plan")))
    assert code == 64
    assert "JOB_COMPLETION_INDEX: is not set" in log
    assert "Traceback" not in log


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.timeout(1200)
def test_two_workers_and_an_evaluator_without_a_supervisor(tmp_path: Path) -> None:
    """What three pods of a Job do: meet, train, lose one another, return, finish, be scored."""
    plan = plan_of(
        tmp_path / "runs",
        "cluster.workers=2", "batch.global_batch=8", "batch.per_replica_batch=4",
        "data.synthetic={kind: shapes, train_images: 64, val_images: 16}",
        "train.checkpoint_every={steps: 20, minutes: 15}",
    )  # fmt: skip
    steps = 40
    plan = shortened(plan, steps)
    from launcher import api

    api.draw(plan.spec)
    plans, paths = mount(plan, tmp_path / "plan"), RunPaths(plan.root)
    share = {"LAUNCHER_CPU_THREADS": "1", "LAUNCHER_MAX_RESTARTS": "3"}

    def group(failures: int) -> list[Any]:
        hosts = ",".join(free_hosts(2))
        return [
            start(
                "worker", plan, plans, **share, LAUNCHER_HOSTS=hosts,
                JOB_COMPLETION_INDEX=str(i), LAUNCHER_FAILURES=str(failures),
            )
            for i in (0, 1)
        ]  # fmt: skip

    first = group(0)
    deadline = time.monotonic() + 600
    while not list(paths.checkpoints.glob("ckpt-20.index")):
        assert all(p.poll() is None for p in first), [end(p) for p in first]
        assert time.monotonic() < deadline
        time.sleep(0.2)
    child = int(read_json(paths.progress(1))["pid"])
    os.kill(child, signal.SIGKILL)
    assert end(first[1], 200)[0] == 137
    code, log = end(first[0], 300)
    assert code == 75, log
    second = group(1)
    evaluator = start("evaluator", plan, plans, **share)
    assert [end(p, 600)[0] for p in second] == [0, 0]
    code, log = end(evaluator, 400)
    assert code == 0, log
    assert read_jsonl(paths.eval_metrics)[-1]["step"] == steps
    rows = read_jsonl(paths.train_metrics)
    assert rows[-1]["step"] == steps
    assert {r["attempt"] for r in rows} == {0, 1}
    assert "continuing after step" in paths.worker_log(1, 0).read_text()
    assert not paths.given_up.exists()
    assert read_json(paths.exit(0, "worker-1"))["exit"] == 137


def shortened(plan: Plan, steps: int) -> Plan:
    """The same for fewer steps, as no spec can say: steps follow from the recipe."""
    from launcher.odapi import pipeline
    from launcher.worker_config import WorkerConfig

    message = pipeline.parse(plan.pipeline_text, "plan")
    message.train_config.num_steps = steps
    rate = message.train_config.optimizer.momentum_optimizer.learning_rate
    rate.cosine_decay_learning_rate.total_steps = steps
    rate.cosine_decay_learning_rate.warmup_steps = 10
    config = WorkerConfig(**{**plan.worker_config.to_json(), "total_steps": steps})
    config = WorkerConfig(**{**config.to_json(), "warmup_steps": 10})
    changed = {"pipeline_text": pipeline.to_text(message), "worker_config": config}
    return plan.model_copy(update={**changed, "total_steps": steps})
