"""What gradient accumulation costs and saves: 32 images a step in micro-batches of 32, 8, 4, 2.

    .venv/bin/python bench/accumulation.py [--micro-batches 32 8 4 2]

One process, the demo's model (SSD-MobileNetV2 x0.35, 128 px, batch norm as published) on its
records. Each split is a worker process of its own, as `launcher submit` starts it. Counted are 15
steps after the first 5. CPU is the time of all its threads and depends little on what else the
machine does; peak is VmHWM, the whole program included, of which `--micro-batches 1` shows how much
does not depend on the batch. The last line is JSON: `ours` are the images/s of the smallest
micro-batch, `peer` of 32 x 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--micro-batches", type=int, nargs="+", default=[32, 8, 4, 2])
    arguments.add_argument("--skipped", type=int, default=5, help="steps before the counted ones")
    arguments.add_argument("--counted", type=int, default=15, help="steps")
    options = arguments.parse_args()
    rows: dict[int, training.Steady] = {}
    training.say(
        f"{'images':>8} {'x':>4} {'ms a step':>10} {'CPU ms':>8} {'images/s':>9} {'peak MB':>8} "
        "others"
    )
    with tempfile.TemporaryDirectory() as folder:
        for images in sorted({*options.micro_batches, training.IMAGES}, reverse=True):
            steps = training.IMAGES // images
            plan = training.demo_plan(
                Path(folder), f"split-{images}", [*training.split(1, steps), "train.norm=batch"]
            )
            row = rows[images] = training.steady(
                training.ours(plan), options.skipped, options.counted
            )
            training.say(
                f"{images:>8} {steps:>4} {row.step_milliseconds:>10.0f} "
                f"{row.cpu_milliseconds:>8.0f} {row.images_per_second:>9.1f} "
                f"{row.peak_megabytes:>8.0f} {row.others:>6.0%}"
            )
    whole, least = rows[training.IMAGES], rows[min(rows)]
    print(
        training.result(
            "accumulation",
            least.images_per_second / whole.images_per_second,
            round(least.images_per_second, 1),
            round(whole.images_per_second, 1),
            f"images/s, {min(rows)} images a micro-batch against {training.IMAGES}",
            cpu_milliseconds={str(n): round(row.cpu_milliseconds) for n, row in rows.items()},
            peak_megabytes={str(n): round(row.peak_megabytes) for n, row in rows.items()},
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
