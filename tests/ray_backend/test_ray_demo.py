"""The demo in miniature on Ray: no cluster prepared, two workers and an evaluator, a score."""

import json
from pathlib import Path

import pytest

from launcher.storage import read_jsonl
from tests.end_to_end.small_run import GLOBAL_BATCH, make_run
from tests.ray_backend.ray_run import RayRun, ray_folders, rays_left

STEPS = 8
SNAPSHOT = "ray/train/attempt-0/checkpoint_manager_snapshot.json"


@pytest.mark.tensorflow
def test_demo_in_miniature(tmp_path: Path) -> None:
    make_run(tmp_path, steps=STEPS, checkpoint_steps=4, stall_seconds=120.0)
    run = RayRun(tmp_path, patience=500.0)
    try:
        done = run.launcher("submit", run.spec.name, "--backend", "ray", "--wait", "--json")
        assert done.returncode == 0, f"{done.stderr}\n{run.tell()}"
        assert "a Ray of this machine is started for the run" in done.stderr
        found = json.loads(done.stdout)  # and nothing of Ray's own
        assert found["final"]["step"] == STEPS
        told = run.told()
        assert (told["state"], told["reason"], told["restarts"]) == ("SUCCEEDED", "scored", 0)
        assert told["backend"] == "ray"
        for worker in (0, 1):
            assert "done: 8 steps" in run.log(0, f"worker-{worker}")
        assert f"global batch {GLOBAL_BATCH} = 2 replicas" in run.log(0, "worker-0")
        assert [row["step"] for row in read_jsonl(run.paths.eval_metrics)][-1] == STEPS
        assert "2 workers with 1 CPU each" in run.log(0, "supervisor")
        listed = json.loads(next(run.paths.root.glob(SNAPSHOT)).read_text())
        assert "learning_rate" in json.dumps(listed), "Ray Train has step and rate of checkpoints"
        assert ray_folders(run.paths.root), "it had files of its own"
        assert not rays_left(run.paths.root), "its Ray is stopped with it, and its files are gone"
        again = run.launcher("submit", run.spec.name, "--backend", "ray", "--wait")
        assert again.returncode == 2
        assert "has already ended: SUCCEEDED at step 8 of 8" in again.stderr
        dashboard = run.launcher("dashboard", run.name)
        assert "has ended with it" in dashboard.stderr
    finally:
        run.end_all()
    assert not run.paths.root.exists()
