"""Box mAP of the demo's model trained in mixed_bfloat16 against float32. Resumable.

    .venv/bin/python bench/precision.py [--steps 500] [--folder DIR] [--only mixed_bfloat16]

One worker, 32 images a step, the demo's 2,000 drawn images, one seed; both runs end with the
evaluator's own scoring. Called again with the same folder it goes on from the last checkpoint, and
prints what is there already. The last line is JSON; a ratio of 1 is the same mAP.

docs/odapi.md and the plan's warning quote it. It fails when mixed_bfloat16 loses more than 0.03.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.contract import RunPaths
from launcher.data import make_shapes
from launcher.odapi import pipeline
from launcher.storage import read_jsonl, write_json
from launcher.worker_config import WorkerConfig
from tests.runtime.small_pipelines import demo_pipeline

ROOT = Path(__file__).resolve().parents[1]
BATCH = 32
ALLOWED = 0.03


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=500, help="of each run (500)")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-precision"))
    parser.add_argument("--only", help="float32 or mixed_bfloat16; the other is read, not run")
    options = parser.parse_args()
    data = options.folder / "shapes"
    if not data.exists():
        make_shapes(data, train_images=2000, val_images=200, image_size=128, seed=0)
    score: dict[str, float | None] = {}
    for precision in ("float32", "mixed_bfloat16"):
        root = options.folder / f"{precision}-{options.steps}"
        if options.only in (None, precision):
            run(RunPaths(root), data, precision, options.steps)
        score[precision] = last_map(RunPaths(root))
        print(f"{precision}: mAP {score[precision]}", flush=True)
    ours, peer = score["mixed_bfloat16"], score["float32"]
    ratio = ours / peer if ours is not None and peer else None
    print(
        json.dumps({"name": "precision", "ratio": ratio, "ours": ours, "peer": peer, "unit": "mAP"})
    )
    return 0 if ours is not None and peer is not None and ours >= peer - ALLOWED else 1


def run(paths: RunPaths, data: Path, precision: str, steps: int) -> None:
    """Train to the end and score; what is there already is not done again."""
    message: Any = demo_pipeline(data.resolve(), batch=BATCH, steps=steps)
    cosine = message.train_config.optimizer.momentum_optimizer.learning_rate
    cosine.cosine_decay_learning_rate.warmup_steps = min(80, steps // 4)
    config = WorkerConfig(
        name=paths.root.name, workers=1, gpus_per_worker=0, replicas=1, global_batch=BATCH,
        per_replica_batch=BATCH, accumulation_steps=1, learning_rate=0.05,
        warmup_learning_rate=0.005, warmup_steps=min(80, steps // 4), total_steps=steps,
        precision=precision, checkpoint_steps=25, keep_checkpoints=2,
    )  # fmt: skip
    pipeline.write(paths.pipeline, message)
    write_json(paths.plan, {"worker_config": config.to_json()})
    if last_map(paths) is not None:
        return
    for module, more in (("launcher.runtime", []), ("launcher.evaluate", ["--once"])):
        print(f"{time.strftime('%H:%M:%S')} {precision}: {module}", flush=True)
        command = [sys.executable, "-m", module, str(paths.root.resolve()), *more]
        subprocess.run(command, cwd=ROOT, check=True)


def last_map(paths: RunPaths) -> float | None:
    """Of the last step; None when it is not scored yet."""
    steps = int(paths.root.name.rpartition("-")[2])
    rows = [r for r in read_jsonl(paths.eval_metrics) if r.get("step") == steps]
    return rows[-1]["mAP"] if rows else None


if __name__ == "__main__":
    sys.exit(main())
