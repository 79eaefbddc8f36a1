"""Images per second of training, ours against `object_detection.model_main_tf2`.

    .venv/bin/python bench/train_throughput.py [--pairs 3] [--workers 1 2] [--keep FILE]

SSD-MobileNetV2 x0.35 at 128 px, global batch 32 (configs/demo.config) on the demo's drawn records;
the same effective pipeline.config, the same cores. Once in one process, once as two workers of
MultiWorkerMirroredStrategy over loopback. The two sides run in turns, and who is first changes
from pair to pair.

Counted is the steady state: the time from the end of step 20 to the end of step 80 (--skipped,
--counted). What is left out on both sides is the start, the trace and the first 20 steps. (The peer
takes 100 steps in one call of its tf.function; a thread reads its step counter meanwhile.)

The peer runs as its user starts it. `others` is the share of the machine that other programs took
during the counted steps: above a few percent the pair says little. With --keep the pairs of
several invocations add up in FILE. The last line is JSON: `ratio` is the median over the pairs of
two workers, `one_process` that of one. About four minutes a pair on two slow cores.
"""

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training

from launcher.storage import append_jsonl, read_jsonl

NEEDED = {1: 1.0, 2: 1.4}


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--pairs", type=int, default=3, help="of each number of workers")
    arguments.add_argument("--workers", type=int, nargs="+", default=[1, 2], choices=(1, 2))
    arguments.add_argument("--keep", type=Path, help="JSON lines, one a pair, that add up")
    arguments.add_argument("--skipped", type=int, default=20, help="steps before the counted ones")
    arguments.add_argument("--counted", type=int, default=60, help="steps")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = options.keep or Path(folder) / "pairs.jsonl"
        for number in range(options.pairs):
            for workers in options.workers:
                steps = options.skipped, options.counted
                append_jsonl(kept, pair(Path(folder), workers, number % 2 == 0, *steps))
                say_pair(read_jsonl(kept)[-1])
        return summary(read_jsonl(kept))


def pair(folder: Path, workers: int, peer_first: bool, skipped: int, counted: int) -> dict:
    plan = training.demo_plan(folder, f"speed-{workers}", training.split(workers))
    sides = {"peer": training.peer, "ours": training.ours}
    names = list(sides) if peer_first else list(sides)[::-1]
    found = {}
    for name in names:
        training.say(f"{workers} worker(s): {name} ...")
        found[name] = asdict(training.steady(sides[name](plan), skipped, counted))
    return {"workers": workers, "first": names[0], **found}


def say_pair(row: dict) -> None:
    for name in ("peer", "ours"):
        side = row[name]
        training.say(
            f"  {name}: {side['images_per_second']:7.1f} images/s, "
            f"{side['step_milliseconds']:6.1f} ms a step "
            f"({side['cpu_milliseconds']:.0f} ms of CPU time), "
            f"peak {side['peak_megabytes']:.0f} MB, others took {side['others']:.0%} of the machine"
        )
    training.say(f"  ratio {ratio(row):.2f}")


def ratio(row: dict) -> float:
    return row["ours"]["images_per_second"] / row["peer"]["images_per_second"]


def summary(rows: list[dict]) -> int:
    medians, ratios = {}, {}
    for workers in sorted({row["workers"] for row in rows}):
        mine = [row for row in rows if row["workers"] == workers]
        ratios[workers] = median(map(ratio, mine))
        medians[workers] = {
            side: round(median(row[side]["images_per_second"] for row in mine), 1)
            for side in ("ours", "peer")
        }
        training.say(
            f"{workers} worker(s), {len(mine)} pairs: {medians[workers]['ours']} images/s against "
            f"{medians[workers]['peer']}, median ratio {ratios[workers]:.2f} "
            f"(must reach {NEEDED[workers]})"
        )
    shown = max(ratios)
    print(
        training.result(
            "train_throughput",
            ratios[shown],
            **medians[shown],
            unit="images/s, two workers",
            one_process=round(ratios.get(1, 0.0), 3),
            pairs=len(rows),
        )
    )
    return 0 if all(ratios[n] >= NEEDED[n] for n in ratios) else 1


if __name__ == "__main__":
    sys.exit(main())
