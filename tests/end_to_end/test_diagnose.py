"""overfit with a real worker and evaluator: the demo's model at 64 px."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.data import make_shapes
from launcher.odapi import pipeline
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import DEMO, SIDE, SmallRun

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(900)]


def small(folder: Path) -> SmallRun:
    """A spec of drawn images; nothing is trained yet."""
    make_shapes(folder / "data", train_images=16, val_images=4, image_size=SIDE, seed=1)
    message = pipeline.read(DEMO)
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = SIDE
    pipeline.write(folder / "small.config", message)
    run = SmallRun(folder)
    run.spec.write_text(
        f"name: {run.name}\npipeline_config: small.config\nrun_dir: runs\n"
        "data: {train: 'data/train.record-*', val: 'data/val.record-*', dataset: custom, "
        "label_map: data/label_map.pbtxt}\n"
        "batch: {global_batch: 8, per_replica_batch: 8, lr_scaling: none}\n"
    )
    return run


def launcher(run: SmallRun, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "launcher", *arguments],
        cwd=run.folder,
        env={**os.environ, "XDG_STATE_HOME": str(run.folder / "state")},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def diagnose(run: SmallRun, code: int, *arguments: str) -> dict[str, Any]:
    done = launcher(run, arguments[0], run.spec.name, *arguments[1:], "--json")
    assert done.returncode == code, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_too_few_steps_are_not_learned_by_heart(tmp_path: Path) -> None:
    run = small(tmp_path)
    told = diagnose(run, 4, "overfit", "--images", "4", "--steps", "2")
    assert told["verdict"]["passed"] is False
    assert told["final"]["images"] == 4
    paths = RunPaths(tmp_path / "runs" / "small-overfit")
    assert [row["images_seen"] for row in read_jsonl(paths.train_metrics)] == [4, 8]
    modes = read_jsonl(paths.eval_metrics)[-1]["modes"]
    assert (modes["images"], modes["moments_over"]) == (4, 4)


def test_baseline_scores_the_checkpoint_and_what_comes_of_it(tmp_path: Path) -> None:
    """On the very images that the checkpoint's own run was scored on: the same mAP, to the bit."""
    run = small(tmp_path)
    diagnose(run, 4, "overfit", "--images", "4", "--steps", "4")
    overfit = RunPaths(tmp_path / "runs" / "small-overfit")
    own = read_jsonl(overfit.eval_metrics)[-1]
    val = json.loads(overfit.plan.read_text())["data"]["val"]
    asked = ["--checkpoint", str(overfit.root), "--steps", "3", "--set", f"data.val={val[0]}"]
    told = diagnose(run, 4, "baseline", "--force", *asked)  # val is a part of train
    assert told["before"]["mAP"] == own["mAP"]
    assert told["before"]["images"] == 4
    assert told["verdict"]["passed"] is False
    assert told["verdict"]["line"].startswith("the data are suspect: mAP 0.0")
    assert told["verdict"]["next"][0].startswith("val: it finds next to nothing")
    paths = RunPaths(tmp_path / "runs" / "small-baseline")
    assert "restored" in (paths.logs(0) / "worker-0.log").read_text()
    first, *_ = read_jsonl(paths.train_metrics)
    last = read_jsonl(overfit.train_metrics)[-1]
    assert abs(first["loss"] - last["loss"]) < 0.5 * last["loss"], "it goes on from those weights"
