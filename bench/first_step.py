"""Seconds from the start of the process to the end of the first step, ours against the OD API's.

    .venv/bin/python bench/first_step.py [--pairs 3] [--workers 1]

The peer is `object_detection.model_main_tf2`, which traces its step four times. Both train the
demo's model (SSD-MobileNetV2 x0.35, 128 px, global batch 32) on the same records; the two sides run
in turns, and who is first changes from pair to pair. The records are drawn and the files of both
programs read once before (a first run that does not count), so that no side pays for a cold disk.
The end of the peer's first step is seen by a thread that reads its step counter.
`bench/step_profile.py` shows where our time goes. The last line is JSON; ratio is ours / peer, the
median over the pairs.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training

NEEDED = 0.6


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--pairs", type=int, default=3)
    arguments.add_argument("--workers", type=int, default=1, choices=(1, 2))
    options = arguments.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        training.say("warming up: ours, once ...")
        seconds("ours", Path(folder), options.workers)
        for number in range(options.pairs):
            names = ["peer", "ours"] if number % 2 == 0 else ["ours", "peer"]
            row = {name: seconds(name, Path(folder), options.workers) for name in names}
            rows.append(row)
            training.say(
                f"peer {row['peer']:.1f} s, ours {row['ours']:.1f} s, "
                f"ratio {row['ours'] / row['peer']:.2f}"
            )
    ratio = median(row["ours"] / row["peer"] for row in rows)
    ours, peer = (round(median(row[side] for row in rows), 2) for side in ("ours", "peer"))
    print(
        training.result(
            "first_step", ratio, ours, peer, "s to the end of the first step", pairs=len(rows)
        )
    )
    return 0 if ratio <= NEEDED else 1


def seconds(name: str, folder: Path, workers: int) -> float:
    plan = training.demo_plan(folder, f"first-{workers}", training.split(workers))
    group = training.ours(plan) if name == "ours" else training.peer(plan)
    with training.running(group) as run:
        return min(run.reach(1).values())


if __name__ == "__main__":
    sys.exit(main())
