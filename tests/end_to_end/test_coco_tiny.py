"""Real COCO images, converted, trained on by EfficientDet-D0 and scored, through the commands."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.odapi import pipeline
from launcher.storage import read_jsonl
from tests.runtime.small_pipelines import small_recipe

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def coco_run(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """EfficientDet-D0 at 256 px: ten steps on 80 images, scored on 80 others."""
    folder = tmp_path_factory.mktemp("coco")
    coco = shared / "coco_tiny"
    for part in ("train", "val"):
        run(
            "launcher", "data", "convert",
            coco / "annotations" / f"instances_{part}2017.json", coco / f"{part}2017",
            "--prefix", part, "--shards", "4", "-o", folder / part,
        )  # fmt: skip
    message = small_recipe("efficientdet_d0", folder, side=256, batch=4, steps=10)
    message.model.ssd.num_classes = 90
    cosine = message.train_config.optimizer.momentum_optimizer.learning_rate
    cosine.cosine_decay_learning_rate.total_steps = 10
    cosine.cosine_decay_learning_rate.warmup_steps = 5
    pipeline.write(folder / "d0.config", message)
    spec = {
        "name": "coco-tiny",
        "pipeline_config": "d0.config",
        "data": {
            "dataset": "custom",
            "train": "train/train.record-*",
            "val": "val/val.record-*",
            "label_map": "train/label_map.pbtxt",
            "train_images": 80,
            "val_images": 80,
        },
        "batch": {"global_batch": 4, "per_replica_batch": 2},
        "run_dir": "runs",
    }
    (folder / "spec.yaml").write_text(json.dumps(spec))
    run("launcher", "submit", folder / "spec.yaml", "--wait")
    return RunPaths(folder / "runs" / "coco-tiny")


def test_it_trained_by_accumulation_and_scored_every_val_image(coco_run: RunPaths) -> None:
    rows = read_jsonl(coco_run.train_metrics)
    assert [r["step"] for r in rows] == list(range(1, 11))
    assert {(r["global_batch"], r["accumulation_steps"]) for r in rows} == {(4, 2)}
    (score,) = [r for r in read_jsonl(coco_run.eval_metrics) if r["step"] == 10]
    assert score["images"] == 80
    assert 0.0 <= score["mAP"] <= 1.0
    assert len(score["per_category"]) == 80


def test_the_numbers_are_pycocotools_own_on_the_same_detections(
    coco_run: RunPaths, tmp_path: Path
) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    run("launcher.evaluate", coco_run.root, "--step", "10", "--dump", tmp_path)
    told: dict[str, Any] = read_jsonl(coco_run.eval_metrics)[-1]
    truth = COCO(str(tmp_path / "ground_truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "detections-10.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert [told[name] for name in COCO_NUMBERS] == pytest.approx(list(evaluation.stats), abs=1e-9)
    assert len(truth.getImgIds()) == 80
    assert any(a["iscrowd"] for a in truth.dataset["annotations"])
