"""A plan as a Ray job, by equality on what is sent."""

import json
import shlex
from pathlib import Path

import pytest

from launcher import load, plan
from launcher.cli.main import run
from launcher.errors import ConfigError
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def job(*overrides: str, address: str | None = None, gpus: int | None = None) -> render.RayJob:
    made = plan(load(DEMO, ["backend.kind=ray", *overrides]))
    return render.job(made, tuple(elastic_plans(made)), "demo-3", address, gpus)


@pytest.mark.parametrize(
    ("there", "asked", "gets"),
    [
        (1, (), 0), (2, (), 1),  # one that the worker leaves
        (None, (), 1),  # nodes with more of them may come: the driver gives it its turn
        (1, ("evaluate.gpus=1",), 1), (2, ("evaluate.gpus=0",), 0),  # what is asked for stays
    ],
)  # fmt: skip
def test_the_evaluator_gets_a_gpu_that_the_workers_leave(
    there: int | None, asked: tuple[str, ...], gets: int
) -> None:
    one = ("cluster.workers=1", "cluster.gpus_per_worker=1", "batch.per_replica_batch=8")
    for address in (None, "http://10.0.0.5:8265"):
        described = job(*one, *asked, address=address, gpus=there)
        assert described.evaluator_needs.gpus == gets
    assert not job("cluster.gpus_per_worker=0", gpus=4).evaluator_needs.gpus


def test_the_drivers_request() -> None:
    described = job("run_dir='/runs/a b'")
    request = render.request(described)
    assert request["submission_id"] == "demo-3"
    assert shlex.split(request["entrypoint"]) == [
        "python", "-m", "launcher.backends.ray.driver", "/runs/a b/demo", "demo-3",
    ]  # fmt: skip
    assert request["metadata"] == {
        "name": "demo",
        "recipe": str(DEMO.parent / "demo.config"),
        "global_batch": "32",
        "learning_rate": "0.05",
        "accumulation_steps": "1",
        "target_map": "35",
        "run_dir": "/runs/a b/demo",
        "role": "training",
    }
    environment = request["runtime_env"]["env_vars"]
    assert int(environment["RAY_JOB_STOP_WAIT_TIME_S"]) >= described.stop_seconds
    assert all(isinstance(value, str) for value in environment.values())
    assert not {k for k in request if k.startswith("entrypoint_")}, "the driver takes nothing"


def test_workers_and_evaluator_take_what_the_spec_says() -> None:
    described = job(
        "cluster.gpus_per_worker=2",
        "batch.per_replica_batch=8",
        "cluster.cpus_per_worker=7.5",
        "cluster.memory_per_worker=32Gi",
        "backend.ray.resources={fast_disk: 1}",
        "backend.ray.placement=strict_spread",
        "backend.ray.evaluator_cpus=2",
    )
    assert described.worker_needs.bundle == {
        "CPU": 7.5, "GPU": 2.0, "memory": 32 * 2**30, "fast_disk": 1.0,
    }  # fmt: skip
    assert described.placement == "STRICT_SPREAD"
    assert described.cpu_threads == 7
    evaluator = render.evaluator_request(described, 1, "--attempt", "0")
    assert evaluator["submission_id"] == "demo-3-evaluator-1"
    assert evaluator["entrypoint_num_gpus"] == 1
    assert evaluator["entrypoint_num_cpus"] == 2
    assert shlex.split(evaluator["entrypoint"])[-2:] == ["--attempt", "0"]


def test_the_evaluators_cpus_and_memory_are_asked_of_ray() -> None:
    described = job("evaluate.cpus=3", "evaluate.memory=4Gi")
    assert described.evaluator_needs.bundle == {"CPU": 3.0, "memory": 4 * 2**30}
    request = render.evaluator_request(described, 0)
    assert request["entrypoint_num_cpus"] == 3
    assert request["entrypoint_memory"] == 4 * 2**30
    both = job("evaluate.cpus=3", "backend.ray.evaluator_cpus=1")
    assert both.evaluator_needs.bundle == {"CPU": 1.0}, "the field of Ray's own wins"


def test_no_request_has_a_value_of_the_environment() -> None:
    described = job("cluster.env={STORE_KEY: not-for-the-dashboard}")
    shown = json.dumps([render.request(described), render.evaluator_request(described, 0)])
    assert "STORE_KEY" not in shown
    assert "not-for-the-dashboard" not in shown
    assert dict(described.roles[1].env)["STORE_KEY"] == "not-for-the-dashboard"


def test_fields_of_kubernetes_are_told() -> None:
    made = plan(
        load(
            DEMO,
            [
                "backend.kind=ray",
                "cluster.image=some/image:1",
                "cluster.image_pull_secrets=[registry]",
                "cluster.secrets=[{env: STORE_KEY, name: store, key: key}]",
            ],
        )
    )
    assert render.unused(made) == [
        "--set cluster.image is for Kubernetes: Ray's nodes run what is installed there",
        "--set cluster.image_pull_secrets is for Kubernetes: no image is pulled: Ray's nodes run "
        "what is installed there",
        "--set cluster.secrets is for Kubernetes: the processes see STORE_KEY when the nodes' own "
        "environment has them",
    ]
    assert not render.unused(plan(load(DEMO, ["backend.kind=ray"])))


def test_the_default_takes_a_cpu_each_and_nothing_for_the_evaluator() -> None:
    described = job()
    assert described.worker_needs.bundle == {"CPU": 1.0}
    assert described.evaluator_needs.bundle == {}
    assert described.own
    assert described.cpu_threads is None, "an equal share of the node's cores"


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    described = job("cluster.workers={min: 1, max: 2}", address="http://10.0.0.5:8265")
    file = tmp_path / "ray.json"
    file.write_text(json.dumps(described.to_json()))
    assert render.RayJob.read(file) == described
    file.write_text("{}")
    with pytest.raises(ConfigError, match="not a Ray job"):
        render.RayJob.read(file)


def test_an_elastic_run_has_the_plan_of_each_size(tmp_path: Path) -> None:
    spec = load(DEMO, ["cluster.workers={min: 1, max: 2}", "train.norm=batch"])
    made = plan(spec)
    plans = elastic_plans(made)
    files = render.files(made, render.job(made, tuple(plans), "demo-0", None), plans)
    assert files["plans/workers-2/plan.json"]["accumulation_steps"] == 1
    assert files["plans/workers-1/plan.json"]["accumulation_steps"] == 2
    assert files["plans/workers-1/plan.json"]["global_batch"] == 32


@pytest.mark.parametrize(
    ("text", "size"), [(None, 0), ("512Mi", 512 * 2**20), ("32Gi", 32 * 2**30), ("1.5G", 1.5e9)]
)
def test_memory(text: str | None, size: int) -> None:
    assert render.in_bytes(text) == size


def test_render_prints_the_request_and_asks_no_cluster(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://no-such-host.invalid:8265")
    assert run(["render", str(DEMO), "--backend", "ray"]) == 0
    shown = capsys.readouterr().out
    assert "address: http://no-such-host.invalid:8265" in shown
    assert "entrypoint: python -m launcher.backends.ray.driver" in shown
    assert "ray.json:" in shown
