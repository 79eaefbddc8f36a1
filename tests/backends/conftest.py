"""Runs of real processes: workers and evaluator are small Python scripts."""

import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import launcher
from launcher.backends import local
from launcher.planning import Plan
from launcher.render.local import EVALUATOR, JOB_FILE, WORKER, LocalJob, Role
from launcher.spec import from_mapping
from tests.backends.kubernetes_server import Server, configure, serving

MARK = "LAUNCHER_TEST_RUN"

PRELUDE = """
import json, os, pathlib, signal, sys, time
attempt = int(os.environ["LAUNCHER_ATTEMPT"])
cluster = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))
index = cluster["task"]["index"]
root = pathlib.Path(ROOT)

def beat(step, **more):
    path = root / "progress" / f"worker-{index}.json"
    path.parent.mkdir(exist_ok=True)
    value = {"step": step, "attempt": attempt, "images_per_second": 10.0, "loss": 1.5,
             "learning_rate": 0.1, **more}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)

def fail(code, message, role="worker"):
    path = root / "progress" / f"{role}-{index}.failure.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"exit": code, "message": message}))
    sys.exit(code)

def on_term(code):
    def leave(number, frame):
        (root / f"saved-by-{index}").write_text(str(attempt))
        os._exit(code)
    signal.signal(signal.SIGTERM, leave)

def forever():
    (root / f"ready-{index}-{attempt}").touch()
    while True:
        time.sleep(0.02)
"""

MakeJob = Callable[..., LocalJob]


@pytest.fixture
def make_job(tmp_path: Path) -> Iterator[MakeJob]:
    """`make_job(worker_code, evaluator_code, **fields of LocalJob)`; ends what is left of it."""
    roots: list[Path] = []

    def make(worker: str, evaluator: str = "", name: str = "demo", **fields: Any) -> LocalJob:
        root = tmp_path / "runs" / name
        roots.append(root)
        roles = []
        for role, code, count in (
            (WORKER, worker, fields.get("workers", 2)),
            (EVALUATOR, evaluator, 1),
        ):
            text = PRELUDE.replace("ROOT", repr(str(root)), 1) + textwrap.dedent(code)
            env = {MARK: str(tmp_path)}
            roles.append(Role(role, count, ("-c", text, str(root)), env))
        values: dict[str, Any] = {
            "name": name,
            "root": str(root),
            "python": sys.executable,
            "cores": 2,
            "workers": 2,
            "evaluator_gpus": (),
            "hide_gpus": False,
            "total_steps": 100,
            "max_restarts": 3,
            "roles": tuple(roles),
            "stop_seconds": 5.0,
            "group_stop_seconds": 2.0,
            "peer_seconds": 1.0,
            "restart_seconds": 0.05,
            **fields,
        }
        return LocalJob(worker_gpus=((),) * values["workers"], **values)

    yield make
    for root in roots:
        local.cancel(root, timeout=1.0)
    assert processes_of(tmp_path) == []


@pytest.fixture
def start() -> Callable[..., Path]:
    """Start a job as submit does; the run's folder."""

    def begin(job: LocalJob, **options: bool) -> Path:
        plan = {"global_batch": 32, "target_map": 40.0, "tolerance": 0.5}
        local.start(job, {"plan.json": plan, JOB_FILE: asdict(job)}, **options)
        return job.paths.root

    return begin


def processes_of(folder: Path) -> list[int]:
    """The pids of all processes that were started for a test in this folder."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.fixture
def api_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(Server()) as server:
        configure(tmp_path / "kubeconfig", server.address)
        yield server


@pytest.fixture
def cluster_plan(tmp_path: Path) -> Plan:
    """Its run_dir is mounted here."""
    (tmp_path / "runs").mkdir()
    volumes = [
        {"name": "data", "mount_path": "/data", "claim": "coco", "read_only": True},
        {"name": "runs", "mount_path": str(tmp_path / "runs"), "claim": "runs"},
    ]
    values = {
        "apiVersion": "launcher/v1",
        "name": "d0",
        "recipe": "efficientdet_d0",
        "data": {
            "train": "/data/coco_train.record-*",
            "val": "/data/coco_val.record-*",
            "label_map": "/data/mscoco_label_map.pbtxt",
            "dataset": "coco2017",
        },
        "batch": {"global_batch": 32, "per_replica_batch": 16},
        "cluster": {"workers": 2, "image": "registry.invalid/launcher:1", "volumes": volumes},
        "backend": {"kind": "kubernetes"},
        "run_dir": str(tmp_path / "runs"),
    }
    return launcher.plan(from_mapping(values))
