"""init, recipes, schema, plan, render."""

import json
from pathlib import Path

import pytest
import yaml

from launcher import recipes

from .conftest import Launcher


def test_init_gives_a_spec_that_plans(inside: Launcher, work: Path) -> None:
    (work / "d3.yaml").write_text(inside("init", "efficientdet_d3").stdout)
    done = inside(
        "plan",
        "d3.yaml",
        "--set",
        "cluster.workers=8",
        "--set",
        "cluster.gpus_per_worker=4",
        "--json",
    )
    made = json.loads(done.stdout)
    assert (made["accumulation_steps"], made["learning_rate"], made["total_steps"]) == (
        1,
        0.08,
        300_000,
    )


def test_recipes(inside: Launcher) -> None:
    lines = inside("recipes").stdout.splitlines()
    assert len(lines) == 1 + len(recipes.names())
    assert lines[0].split() == ["recipe", "input", "batch", "rate", "warm-up", "steps", "mAP"]
    assert next(line for line in lines if line.startswith("efficientdet_d3 ")).split() == [
        "efficientdet_d3", "896", "128", "0.08", "2,500", "300,000", "45.4",
    ]  # fmt: skip
    assert [
        row["name"] for row in json.loads(inside("recipes", "--json").stdout)
    ] == recipes.names()


def test_schema_is_json(inside: Launcher) -> None:
    assert "batch" in json.loads(inside("schema").stdout)["properties"]


def test_plan_of_the_seed(inside: Launcher, shared: Path, work: Path) -> None:
    done = inside(
        "plan", str(shared / "seed" / "pipeline.config"), "--set", "name=seed", "-o", "out"
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "efficientdet_d3" in text
    assert "your file's rate 0.01 at batch 2 is 8x" in text
    made = json.loads((work / "out" / "plan.json").read_text())
    assert (made["accumulation_steps"], made["images_seen"]) == (64, 38_400_000)
    assert "num_steps: 300000" in (work / "out" / "pipeline.config").read_text()


def test_plan_starts_and_writes_nothing(inside: Launcher, spec_file: Path, work: Path) -> None:
    assert inside("plan", "demo.yaml").returncode == 0
    assert [p.name for p in work.iterdir()] == ["demo.yaml"]


def test_render_is_what_a_dry_run_prints(inside: Launcher, spec_file: Path, work: Path) -> None:
    rendered = yaml.safe_load(inside("render", "demo.yaml").stdout)
    dry = json.loads(inside("submit", "demo.yaml", "--dry-run", "--json").stdout)
    for request in (rendered, dry):  # the ports are chosen anew each time
        for process in request["processes"]:
            if "TF_CONFIG" in process["env"]:
                cluster = json.loads(process["env"].pop("TF_CONFIG"))["cluster"]["worker"]
                assert all(host.startswith("127.0.0.1:") for host in cluster)
                assert len(set(cluster)) == 2
    assert rendered == dry
    assert [p["role"] for p in dry["processes"]] == ["worker", "worker", "evaluator"]
    assert [p.name for p in work.iterdir()] == ["demo.yaml"]


def test_the_data_commands_follow_the_run_dir(
    inside: Launcher, launcher: Launcher, spec_file: Path, work: Path
) -> None:
    """A drawn set lies below it."""
    size = ("--train-images", "8", "--val-images", "2")
    assert inside("data", "shapes", "other/data/shapes-8-2-128-0", *size).returncode == 0
    elsewhere = ("--run-dir", "other")
    for command in (("stats",), ("audit",), ("clean", "-o", "mended")):
        done = inside("data", *command, "demo.yaml", *elsewhere)
        assert done.returncode == 0, done.stderr
        assert "8" in done.stdout
    assert "not there yet" in inside("data", "audit", "demo.yaml").stderr
    assert "--run-dir" in inside("data", "view", "--help").stdout
    assert launcher("data", "audit", "demo.yaml", LAUNCHER_RUN_DIR="other").returncode == 0


@pytest.mark.parametrize("name", ["my runs #2", "a: b", "'x", "1: [2]"])
def test_any_folder_can_hold_the_runs(
    inside: Launcher, spec_file: Path, work: Path, name: str
) -> None:
    done = inside("plan", "demo.yaml", "--run-dir", name, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["root"] == f"{work}/{name}/demo"


def test_an_address_is_that_text(inside: Launcher, spec_file: Path) -> None:
    done = inside("submit", "demo.yaml", "--backend", "ray", "--address", "[http://h:8265]")
    assert done.returncode == 2
    assert "'[http://h:8265]'" in done.stderr
