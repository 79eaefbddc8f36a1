"""How long it takes to render a run of 1,000 workers, and how that grows.

    .venv/bin/python bench/render.py            # about 20 s

Renders configs/efficientdet_d3.yaml as each kind with 10, 100, 1,000 and 10,000 workers of one
GPU, from the plan to the text that `launcher render` prints. `ratio` is how many
times longer 1,000 workers take than ten; linear would be 100. It is about 1 because nothing in a
manifest is written once for each worker. Exit code 1 when 1,000 take over a second.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import launcher
from launcher.planning import Plan
from launcher.render.kubernetes import KINDS, Kind, objects
from launcher.render.kubernetes.output import comments, to_yaml

SPEC = Path(__file__).resolve().parents[1] / "configs" / "efficientdet_d3.yaml"
SIZES = (10, 100, 1_000, 10_000)
FEW, MANY = 10, 1_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeat", type=int, default=7, help="renderings, the median counts")
    parser.add_argument("--limit", type=float, default=1.0, help="seconds that 1,000 may take")
    args = parser.parse_args()
    worst: dict[int, float] = {}
    for kind in KINDS:
        for workers in SIZES:
            plan = plan_of(workers)
            seconds, length = measure(plan, kind, args.repeat)
            worst[workers] = max(worst.get(workers, 0.0), seconds)
            print(f"{kind:<7} {workers:>6,} workers  {seconds * 1000:6.1f} ms  {length:,} bytes")
    result = {
        "name": "render of 1,000 workers",
        "ratio": round(worst[MANY] / worst[FEW], 3),
        "ours": round(worst[MANY], 4),
        "peer": round(worst[FEW], 4),
        "unit": "s for 1,000 workers against 10, the slowest kind",
    }
    print(json.dumps(result))
    if worst[MANY] > args.limit or worst[MANY] > worst[FEW] * MANY / FEW:
        sys.exit(1)


def plan_of(workers: int) -> Plan:
    """One GPU and one image each: the batch is as large as the group."""
    settings = (
        f"cluster.workers={workers}",
        "cluster.gpus_per_worker=1",
        "batch.per_replica_batch=1",
        f"batch.global_batch={workers}",
    )
    return launcher.plan(launcher.load(SPEC, settings))


def measure(plan: Plan, kind: Kind, repeat: int) -> tuple[float, int]:
    """Median seconds, and the length of the text."""
    seconds, text = [], ""
    for _ in range(repeat):
        began = time.perf_counter()
        text = to_yaml(objects(plan, kind), comments(plan, "launcher render"))
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds), len(text)


if __name__ == "__main__":
    main()
