"""What the benches of a training's outcome share: the demo's model, trained and scored.

SSD-MobileNetV2 x0.35 (configs/demo.config) at 128 px with 32 images a step, on 2,000 drawn images
before flat or patchy backgrounds; the mAP is that of the last checkpoint on 200 others. Worker and
evaluator are processes of their own, as a backend starts them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launcher
from launcher.contract import EVALUATOR_MODULE, WORKER_MODULE, RunPaths
from launcher.data import make_shapes
from launcher.storage import append_jsonl, read_jsonl

ROOT = Path(__file__).resolve().parents[1]
C = TypeVar("C", bound=Any)
"""A frozen dataclass of what is varied, with a `name` for its run."""
BACKGROUNDS = ("flat", "patchy")
GLOBAL_BATCH = 32
STEPS = 500


def score(
    folder: Path,
    name: str,
    *,
    background: str,
    steps: int,
    per_replica_batch: int,
    train: Mapping[str, object],
) -> float:
    """Trains and scores in `folder`. Returns the mAP of the last checkpoint.

    `train` is that section of the spec. One worker on one replica, so that 32 images a step are
    32 / per_replica_batch micro-batches. Raises SystemExit with the log's end.
    """
    data = folder / background
    if not data.exists():
        make_shapes(data, background=background, seed=0)
    config = (ROOT / "configs" / "demo.config").read_text()
    for field, value in (
        ("total_steps", steps),
        ("num_steps", steps),
        ("warmup_steps", steps * 8 // 100),
    ):
        config = re.sub(rf"\b{field}: \d+", f"{field}: {value}", config)
    (folder / "model.config").write_text(config)
    spec = folder / "spec.yaml"
    spec.write_text(
        json.dumps(
            {
                "name": name,
                "pipeline_config": "model.config",
                "data": {
                    "train": str(data / "train.record-*"),
                    "val": str(data / "val.record-*"),
                    "label_map": str(data / "label_map.pbtxt"),
                    "dataset": "custom",
                },
                "batch": {
                    "global_batch": GLOBAL_BATCH,
                    "per_replica_batch": per_replica_batch,
                    "lr_scaling": "none",
                },
                "train": {**train, "checkpoint_every": {"steps": steps, "minutes": 10_000}},
                # One that waits for a busy machine is not one that hangs.
                "restart": {"stall_timeout_seconds": 3600},
                "run_dir": str(folder / "runs"),
            }
        )
    )
    plan = launcher.plan(launcher.load(spec))
    plan.write(plan.root)
    for command in ([WORKER_MODULE], [EVALUATOR_MODULE, "--once"]):
        module, *rest = command
        log = folder / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.run(
                [sys.executable, "-m", module, str(plan.root), *rest],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if process.returncode:
            raise SystemExit(f"{name}: {module} left with {process.returncode}\n{_tail(log)}")
    found = read_jsonl(RunPaths(plan.root).eval_metrics)[-1]["mAP"]
    shutil.rmtree(plan.root)
    return float(found)


def score_all(
    cells: Sequence[C], results: Path, missing: int, score_of: Callable[[C, Path], float]
) -> None:
    """One after the other; each is a line of `results` as soon as it is there. `missing`: with
    those that are left for another time."""
    with tempfile.TemporaryDirectory(prefix="bench-cells-") as folder:
        for number, cell in enumerate(cells, 1):
            print(f"{number}/{len(cells)} ({missing} missing): {cell.name} ...", flush=True)
            started = time.monotonic()
            found = score_of(cell, Path(folder))
            seconds = round(time.monotonic() - started)
            append_jsonl(results, asdict(cell) | {"mAP": found, "seconds": seconds})
            print(f"    mAP {found:.4f} in {seconds} s", flush=True)


def measured(kind: type[C], results: Path) -> dict[C, float]:
    """The mAP of each cell that is in `results`."""
    names = [field.name for field in fields(kind)]
    return {kind(**{n: row[n] for n in names}): row["mAP"] for row in read_jsonl(results)}


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-15:])
