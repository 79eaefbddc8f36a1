"""configs/overfit-coco-tiny.yaml: what does not overfit sixteen images has a bug in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(3000)]

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "overfit-coco-tiny.yaml"


def test_sixteen_real_images_are_learned_by_heart(shared: Path, tmp_path: Path) -> None:
    coco, data = shared / "coco_tiny", tmp_path / "data"
    convert = ["data", "convert", str(coco / "annotations" / "instances_train2017.json")]
    run(*convert, str(coco / "train2017"), "--limit", "16", "--shards", "2", "-o", str(data))
    run(
        "submit", str(CONFIG), "--wait",
        "--set", f"run_dir={tmp_path}",
        "--set", f"data.train={data}/train.record-*",
        "--set", f"data.val={data}/train.record-*",
        "--set", f"data.label_map={data}/label_map.pbtxt",
    )  # fmt: skip
    results = run("results", "overfit-coco-tiny", "--json", "--run-dir", str(tmp_path))
    final = json.loads(results)["final"]
    assert final["images"] == 16
    assert final["mAP"] >= 0.8


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "launcher", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
