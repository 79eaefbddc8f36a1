"""A run's folder as its processes leave it, made in a moment."""

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

from PIL import Image

from launcher.contract import COCO_NUMBERS, RunPaths, State
from launcher.odapi import pipeline
from launcher.report.record import RunRecord, read_record
from launcher.storage import append_jsonl, write_json, write_text

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
BATCH, STEPS, WARMUP, PEAK = 32, 200, 20, 0.05
START = 1_700_000_000.0


def rate(step: int) -> float:
    """The cosine of the run's pipeline.config, at the step that a row of metrics names."""
    done = step - 1
    if done < WARMUP:
        return 0.005 + done * (PEAK - 0.005) / WARMUP
    return 0.5 * PEAK * (1 + math.cos(math.pi * (done - WARMUP) / (STEPS - WARMUP)))


def train_row(step: int, attempt: int = 0, **changed: Any) -> dict[str, Any]:
    loss = 4.0 * math.exp(-step / 40) + 0.1 + 0.01 * (step % 7)
    return {
        "step": step,
        "total_steps": STEPS,
        "time": START + 10.0 + step,
        "attempt": attempt,
        "loss": loss + 0.02,
        "learning_rate": rate(step),
        "images_per_second": 90.0 if step > 1 else None,
        "input_share": 0.03 if step > 1 else None,
        "own_seconds": 0.2 if step > 1 else None,
        "global_batch": BATCH,
        "accumulation_steps": 1,
        "images_seen": step * BATCH,
        "gradient_norm": 2.0,
        "losses": {
            "Loss/classification_loss": 0.7 * loss,
            "Loss/localization_loss": 0.3 * loss,
            "Loss/regularization_loss": 0.02,
            "Loss/total_loss": loss + 0.02,
        },
    } | changed


def score_row(step: int, points: float, **changed: Any) -> dict[str, Any]:
    numbers = dict.fromkeys(COCO_NUMBERS, points / 100) | {"APl": -1.0, "ARl": -1.0}
    return {
        "step": step,
        "checkpoint": f"checkpoints/ckpt-{step}",
        "sha256": f"{step:064x}",
        "time": START + 15.0 + step,
        "images": 16,
        "engine": "pycocotools",
        **numbers,
        "per_category": {"square": points / 100, "circle": points / 200, "star": None},
    } | changed


def event(moment: float, state: str, reason: str, attempt: int, **more: Any) -> dict[str, Any]:
    told = {"time": START + moment, "state": state, "reason": reason, "attempt": attempt}
    return {**told, "message": "", "restarts": 0, "step": 0} | more


def plan(name: str, **changed: Any) -> dict[str, Any]:
    numbers = {
        "global_batch": BATCH,
        "per_replica_batch": 16,
        "accumulation_steps": 1,
        "learning_rate": PEAK,
        "warmup_steps": WARMUP,
        "total_steps": STEPS,
    }
    return {
        "name": name,
        "recipe": None,
        "workers": 2,
        "gpus_per_worker": 0,
        **numbers,
        "images_seen": BATCH * STEPS,
        "epochs": 3.2,
        "target_map": 35.0,
        "tolerance": 0.5,
        "data": {"train_images": 2000, "val_images": 16},
        "worker_config": {"name": name, **numbers, "norm": "batch", "seed": 0},
        "spec": {"name": name, "train": {"seed": 0}, "run_dir": "runs"},
    } | changed


def example(kind: str, source_id: str, name: str = "square") -> dict[str, Any]:
    pixels = io.BytesIO()
    Image.new("RGB", (64, 48), "gray").save(pixels, "JPEG")
    return {
        "kind": kind,
        "source_id": source_id,
        "quality": 0.25,
        "width": 64,
        "height": 48,
        "jpeg": base64.b64encode(pixels.getvalue()).decode(),
        "truth": [[4.0, 4.0, 20.0, 20.0, name, None]],
        "found": [[6.0, 4.0, 20.0, 22.0, name, 0.91], [40.0, 30.0, 60.0, 60.0, name, 0.31]],
    }


def make(root: Path, points: float = 40.0, name: str = "made", **plan_changes: Any) -> RunPaths:
    """A run that restarted once and reached (or missed) 35 COCO points."""
    paths = RunPaths(root)
    write_json(paths.plan, plan(name, **plan_changes))
    write_text(paths.spec, f"name: {name}\n")
    config = pipeline.read(DEMO)
    config.train_config.num_steps = STEPS
    cosine = config.train_config.optimizer.momentum_optimizer.learning_rate
    cosine.cosine_decay_learning_rate.total_steps = STEPS
    cosine.cosine_decay_learning_rate.warmup_steps = WARMUP
    pipeline.write(paths.pipeline, config)
    for step in range(1, 121):
        append_jsonl(paths.train_metrics, train_row(step))
    for step in range(101, STEPS + 1):
        append_jsonl(paths.train_metrics, train_row(step, 1, time=START + 60.0 + step))
    for step in (100, STEPS):
        append_jsonl(paths.eval_metrics, score_row(step, points * step / STEPS))
    for row in (
        event(2, "RUNNING", "started", 0),
        event(131, "RESTARTING", "peer-lost", 1, message="worker-1 was killed <SIGKILL>"),
        event(135, "RUNNING", "started", 1),
        event(262, "EVALUATING", "trained", 1),
        event(280, "SUCCEEDED", "scored", 1),
    ):
        append_jsonl(paths.events, row)
    for role, records in (("worker", 2000), ("evaluator", 16)):
        append_jsonl(
            paths.provenance,
            {
                "role": role,
                "attempt": 0,
                "versions": {"tensorflow": "2.21.0", "launcher source": f"of-{role}"},
                "machine": {"host": "h", "cores": 2, "accelerators": ["A100", "A100"]},
                "data": {"records": records, "files": 4, "bytes": 10**6, "digest": role[:4] * 4},
            },
        )
    shown = [example("worst", "a&b"), example("best", "17")]
    write_json(paths.examples, {"step": STEPS, "min_score": 0.3, "images": shown})
    ended = {"state": "SUCCEEDED", "reason": "scored", "attempt": 1, "restarts": 1}
    times = {"submitted": START, "updated": START + 280, "step": STEPS, "total_steps": STEPS}
    write_json(paths.status, {"name": name, "backend": "local", **ended, **times})
    return paths


def record(paths: RunPaths, **more: Any) -> RunRecord:
    name = json.loads(paths.plan.read_text())["name"]
    return read_record(paths, name, State.SUCCEEDED, **more)
