"""Two of the faults of docs/ray.md, happening to one run: a Ray of its own, two workers.

The others are in test_ray_cluster_faults.py.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.backends.ray.channel import Channel, mapping
from launcher.contract import WORKER_MODULE
from tests.end_to_end.small_run import make_run
from tests.ray_backend.nodes import our_metrics
from tests.ray_backend.ray_run import RayRun, ray_folders, rays_left

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(1500)]

CHECKPOINT_STEPS = 4
LISTENS = "0A"
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
MARK, MARKED = "OF_THE_SPEC", "seen-by-processes-alone"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayRun]:
    folder = tmp_path_factory.mktemp("ray-faults")
    make_run(folder, steps=5000, checkpoint_steps=CHECKPOINT_STEPS, stall_seconds=300.0)
    spec = folder / "small.yaml"
    spec.write_text(
        spec.read_text().replace("cluster: {", f"cluster: {{env: {{{MARK}: {MARKED}}}, ")
    )
    run = RayRun(folder, patience=400.0)
    yield run
    run.end_all()


def test_its_ray_is_on_loopback_and_tells_how_far_it_is(run: RayRun) -> None:
    """And nobody else than its processes what is in cluster.env."""
    attempt = run.running()
    (folder,) = ray_folders(run.paths.root)
    listening = listeners(folder)
    assert len(listening) >= 8, "raylet, GCS, dashboard, agents"
    assert {host.partition(":")[0] for host in listening} <= LOOPBACK
    address = mapping(Channel(run.paths.root).head)["address"]
    for who in ("worker-0", "worker-1", "evaluator"):
        environ = Path(f"/proc/{run.pid(who)}/environ").read_bytes().split(b"\0")
        assert f"{MARK}={MARKED}".encode() in environ
    for path in ("/api/jobs/", "/api/train/v2/runs/v1", "/api/v0/actors?detail=1"):
        served = ask(address + path)
        assert run.name in served
        assert MARKED not in served

    def line() -> bool:
        logs = json.loads(ask(f"{address}/api/jobs/{run.name}-{attempt}/logs"))["logs"]
        return bool(
            re.search(r" step \d+ of 5000: loss \S+, learning rate \S+, \S+ images/s", logs)
        )

    run.wait(line, "a line in the job's log", 60)
    gauges = {"step", "loss", "learning_rate", "images_per_second"}  # each comes by itself
    run.wait(lambda: gauges <= set(our_metrics(folder)), "all gauges on the metrics port", 60)
    shown = our_metrics(folder)
    assert 0 < shown["step"] <= run.rows()[-1]["step"]


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
def test_rays_own_stop_saves_a_checkpoint(run: RayRun) -> None:
    attempt = run.running()
    address = mapping(Channel(run.paths.root).head)["address"]
    ray = str(Path(sys.executable).parent / "ray")
    argv = [ray, "job", "stop", "--address", address, f"{run.name}-{attempt}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    run.wait(lambda: run.status()["state"] == "CANCELLED", "the end", 120)
    assert run.saved()[-1] == run.steps_of(attempt)[-1]
    run.wait(lambda: not rays_left(run.paths.root), "the end of its Ray", 60)


@pytest.mark.slow
def test_end_of_its_ray_is_told_and_the_next_submit_removes_its_files(run: RayRun) -> None:
    run.running()
    run.pid("evaluator")
    keeper = mapping(Channel(run.paths.root).head)["pid"]
    folder = ray_folders(run.paths.root)[-1]
    os.kill(keeper, signal.SIGKILL)
    run.wait(lambda: run.told()["state"] == "FAILED", "what became of it", 60)
    assert run.told()["reason"] == "supervisor-lost"
    left = [str(folder)]
    run.wait(lambda: rays_left(run.paths.root) == left, "the end of all processes", 120)
    run.submit("--resume")
    assert not folder.exists()
    assert run.launcher("cancel", run.name).returncode == 0
    assert not rays_left(run.paths.root)


def ask(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as answer:
        return str(answer.read().decode())


def listeners(folder: Path) -> set[str]:
    """`address:port` where the processes of the Ray with this --temp-dir, and what they have
    started, listen: as the kernel writes them, 0100007F:1F90 for 127.0.0.1:8080. Not those of
    TensorFlow's workers, whose sockets are bound to the device `lo`, which this does not tell."""
    family = [int(p.parent.name) for p in Path("/proc").glob("[0-9]*/cmdline") if _names(p, folder)]
    for pid in family:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                family += [int(x) for x in task.read_text().split() if int(x) not in family]
    inodes = set()
    for pid in family:
        with contextlib.suppress(OSError):
            if WORKER_MODULE.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes():
                inodes |= {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}
    tables = [Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6")]
    rows = [row.split() for table in tables for row in table.splitlines()[1:]]
    return {row[1] for row in rows if row[3] == LISTENS and f"socket:[{row[9]}]" in inodes}


def _names(cmdline: Path, folder: Path) -> bool:
    try:
        return os.fsencode(str(folder)) in cmdline.read_bytes()
    except OSError:
        return False
