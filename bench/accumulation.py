"""What gradient accumulation costs and saves: 32 images as 1, 2, 4, 8 and 16 micro-batches.

    .venv/bin/python bench/accumulation.py [--micro-batches 32 8 4 2]

One process, the demo's model (SSD-MobileNetV2 x0.35, 128 px) on its records. Each split is a worker
process of its own, as `launcher submit` starts it. Counted are 15 steps after the first 5; peak
memory is the process's VmHWM, the whole program included, of which the first line, with one image
a micro-batch, shows how much does not depend on the batch. The last line is JSON: `ours` is the
images/s of 2 images x 16, `peer` of 32 x 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _training as training

SKIPPED, COUNTED = 5, 15


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--micro-batches", type=int, nargs="+", default=[32, 8, 4, 2])
    options = arguments.parse_args()
    rows: dict[int, training.Steady] = {}
    training.say(f"{'images':>8} {'x':>4} {'ms a step':>10} {'images/s':>9} {'peak MB':>8} others")
    with tempfile.TemporaryDirectory() as folder:
        for images in sorted({*options.micro_batches, training.IMAGES}, reverse=True):
            steps = training.IMAGES // images
            plan = training.demo_plan(
                Path(folder), f"split-{images}", [*training.split(1, steps), "train.norm=batch"]
            )
            row = rows[images] = training.steady(training.ours(plan), SKIPPED, COUNTED)
            training.say(
                f"{images:>8} {steps:>4} {row.step_milliseconds:>10.0f} "
                f"{row.images_per_second:>9.1f} {row.peak_megabytes:>8.0f} {row.others:>6.0%}"
            )
    whole, least = rows[training.IMAGES], rows[min(rows)]
    print(
        training.result(
            "accumulation",
            least.images_per_second / whole.images_per_second,
            round(least.images_per_second, 1),
            round(whole.images_per_second, 1),
            f"images/s, {min(rows)} images a micro-batch against {training.IMAGES}",
            peak_megabytes={str(n): round(row.peak_megabytes) for n, row in rows.items()},
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
