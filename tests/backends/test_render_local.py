"""A plan as processes, whole objects compared."""

import json
from pathlib import Path
from typing import Any

import pytest

from launcher import planning, spec
from launcher.errors import ConfigError
from launcher.planning import Plan
from launcher.render import local as render
from launcher.render.local import LocalJob, Machine, Process

HOSTS = ["127.0.0.1:4001", "127.0.0.1:4002"]


def make_plan(tmp_path: Path, **cluster: Any) -> Plan:
    return planning.make_plan(
        spec.from_mapping(
            {
                "name": "demo",
                "recipe": "ssd_mobilenet_v2_fpnlite_320",
                "data": {"synthetic": {"train_images": 64, "val_images": 8}},
                "batch": {"per_replica_batch": 4, "global_batch": 128},
                "cluster": {"workers": 2, **cluster},
                "run_dir": str(tmp_path),
            }
        )
    )


def test_two_workers_and_the_evaluator(tmp_path: Path) -> None:
    job = render.job(make_plan(tmp_path), Machine("/venv/bin/python", 5))
    root = str(tmp_path / "demo")
    env = {
        "LAUNCHER_ATTEMPT": "3",
        "LAUNCHER_CPU_THREADS": "2",
        "LAUNCHER_PARENT_PID": "77",
        "PYTHONUNBUFFERED": "1",
    }
    cluster = '{"cluster":{"worker":["127.0.0.1:4001","127.0.0.1:4002"]},'
    logs = f"{root}/logs/attempt-3"
    worker = ("/venv/bin/python", "-m", "launcher.runtime", root)
    assert render.processes(job, HOSTS, 3, 77) == [
        Process(
            "worker",
            0,
            worker,
            env | {"TF_CONFIG": cluster + '"task":{"type":"worker","index":0}}'},
            f"{logs}/worker-0.log",
        ),
        Process(
            "worker",
            1,
            worker,
            env | {"TF_CONFIG": cluster + '"task":{"type":"worker","index":1}}'},
            f"{logs}/worker-1.log",
        ),
        Process(
            "evaluator",
            0,
            ("/venv/bin/python", "-m", "launcher.evaluate", root),
            env,
            f"{logs}/evaluator.log",
        ),
    ]


def test_one_worker_has_no_cluster(tmp_path: Path) -> None:
    job = render.job(make_plan(tmp_path, workers=1), Machine("python", 1))
    env = render.worker(job, HOSTS[:1], 0, 0, 1).env
    assert "TF_CONFIG" not in env
    assert env["LAUNCHER_CPU_THREADS"] == "1"


def test_gpus_are_split_and_the_evaluator_takes_a_free_one(tmp_path: Path) -> None:
    made = make_plan(tmp_path, gpus_per_worker=2)
    job = render.job(made, Machine("python", 8, ("0", "1", "2", "3", "7")))
    shown = [p.env["CUDA_VISIBLE_DEVICES"] for p in render.processes(job, HOSTS, 0, 1)]
    assert shown == ["0,1", "2,3", "7"]


def test_evaluator_scores_on_the_cpu_when_no_gpu_is_left(tmp_path: Path) -> None:
    made = make_plan(tmp_path, gpus_per_worker=1)
    job = render.job(made, Machine("python", 8, ("4", "5")))
    shown = [p.env["CUDA_VISIBLE_DEVICES"] for p in render.processes(job, HOSTS, 0, 1)]
    assert shown == ["4", "5", "-1"]


def test_cpu_run_hides_the_gpus_of_its_machine(tmp_path: Path) -> None:
    job = render.job(make_plan(tmp_path), Machine("python", 8, ("0",)))
    assert {p.env["CUDA_VISIBLE_DEVICES"] for p in render.processes(job, HOSTS, 0, 1)} == {"-1"}


def test_dry_run_for_a_larger_machine_numbers_its_gpus(tmp_path: Path) -> None:
    job = render.job(make_plan(tmp_path, gpus_per_worker=2), Machine("python", 8))
    assert job.worker_gpus == (("0", "1"), ("2", "3"))


def test_request_holds_all_that_is_written(tmp_path: Path) -> None:
    made = make_plan(tmp_path)
    request = render.local(made, HOSTS, Machine("python", 2))
    assert list(request) == ["backend", "name", "root", "supervisor", "processes", "files"]
    assert list(request["files"]) == ["spec.yaml", "plan.json", "pipeline.config", "local.json"]
    assert request["files"]["plan.json"] == made.to_json()
    assert request["files"]["pipeline.config"] == made.pipeline_text
    assert request["processes"][0]["env"]["LAUNCHER_PARENT_PID"] == "<pid of the supervisor>"
    assert json.loads(json.dumps(request)) == request  # plain values only
    assert not (tmp_path / "demo").exists()


def test_job_reads_back_equal(tmp_path: Path) -> None:
    made = make_plan(tmp_path, gpus_per_worker=1)
    request = render.local(made, HOSTS, Machine("python", 2, ("0", "1", "2")))
    path = tmp_path / "local.json"
    path.write_text(json.dumps(request["files"]["local.json"]))
    assert LocalJob.read(path) == render.job(made, Machine("python", 2, ("0", "1", "2")))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"roles": [], "surprise": 1}'])
def test_job_of_another_version(tmp_path: Path, text: str) -> None:
    path = tmp_path / "local.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="not a local job"):
        LocalJob.read(path)
