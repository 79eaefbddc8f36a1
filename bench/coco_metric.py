"""The COCO metric's time: the engine of intermediate checkpoints against pycocotools.

    .venv/bin/python bench/coco_metric.py [--images 5000] [--detections 100] [--peer-runs 1]

One set, drawn with a seed: COCO's 80 categories and its 7 boxes an image, crowds among them, areas
in all three sizes and at their borders, images without boxes, images without detections, equal
scores. Both engines get it as the evaluator has it, as Python objects in memory, and both are timed
from these objects to all 12 numbers and the AP of each category. The last line is JSON; the exit
code is 1 when a number differs by more than 1e-6.

pycocotools needs about 40 s for one run of the default set. Its time is without `COCO.loadRes`,
which the evaluator's own call leaves out: with it, it would be slower still.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.evaluate import coco

CATEGORIES = 80
BOXES = 7.3  # an image of COCO's val2017, on average
CROWDS = 0.012  # of all boxes
EMPTY = 0.01  # of all images, without boxes; as many again without detections
BORDERS = (32.0**2, 96.0**2)  # square pixels
OURS_RUNS = 5


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="of each image")
    parser.add_argument("--peer-runs", type=int, default=1, help="of pycocotools (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    dataset, detections = draw(options.images, options.detections, options.seed)
    crowds = sum(a["iscrowd"] for a in dataset["annotations"])
    print(
        f"{options.images} images, {len(dataset['annotations'])} boxes, {crowds} of them crowds,"
        f" {len(detections)} detections",
        flush=True,
    )
    ours_times, theirs_times = [], []
    for turn in range(max(OURS_RUNS, options.peer_runs)):
        ours, seconds = timed(coco.score_fast, dataset, detections)
        ours_times.append(seconds)
        print(f"hotcoco      {seconds:8.2f} s", flush=True)
        if turn < options.peer_runs:
            theirs, seconds = timed(coco.score, dataset, detections)
            theirs_times.append(seconds)
            print(f"pycocotools  {seconds:8.2f} s", flush=True)
    worst = coco.difference(ours, theirs)
    print(f"{'':8} {'pycocotools':>12} {'hotcoco':>12}")
    for name, number in theirs.numbers.items():
        print(f"{name:8} {number:12.8f} {ours.numbers[name]:12.8f}")
    print(f"largest difference, {len(theirs.per_category)} categories' AP included: {worst:.1e}")
    mine, peer = statistics.median(ours_times), statistics.median(theirs_times)
    result = {
        "name": "coco_metric",
        "ratio": round(peer / mine, 2),
        "ours": round(mine, 3),
        "peer": round(peer, 3),
        "unit": "s (load and evaluate)",
        "largest_difference": worst,
        "images": options.images,
        "detections": len(detections),
    }
    print(json.dumps(result))
    return 0 if worst <= coco.EQUAL else 1


def timed(
    score: Callable[[Any, Any], coco.Scores], dataset: Any, detections: Any
) -> tuple[coco.Scores, float]:
    started = time.perf_counter()
    scores = score(dataset, detections)
    return scores, time.perf_counter() - started


def draw(images: int, detections: int, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth, and detections of which the best ones lie near it."""
    rng = np.random.default_rng(seed)
    annotations: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        count = 0 if rng.random() < EMPTY else int(rng.poisson(BOXES))
        boxes, classes = _boxes(rng, count), rng.integers(1, CATEGORIES + 1, count)
        areas = boxes[:, 2] * boxes[:, 3] * 0.6  # an outline fills about so much of its box
        at_border = rng.random(count) < 0.02
        areas[at_border] = rng.choice(BORDERS, at_border.sum())
        crowds = rng.random(count) < CROWDS
        for box, category, area, crowd in zip(
            boxes.tolist(), classes.tolist(), areas.tolist(), crowds.tolist(), strict=True
        ):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
        if rng.random() < EMPTY:
            continue
        places, labels = _boxes(rng, detections), rng.integers(1, CATEGORIES + 1, detections)
        near = min(3 * count, detections)  # three detections near each box
        at = np.arange(near) // 3
        places[:near] = boxes[at] * (1 + rng.normal(0, 0.08, (near, 4)))
        labels[:near] = classes[at]
        scores = np.sort(rng.random(detections) ** 3)[::-1].round(4)  # rounded: some are equal
        for box, label, score in zip(
            places.tolist(), labels.tolist(), scores.tolist(), strict=True
        ):
            found.append({"image_id": image, "category_id": label, "bbox": box, "score": score})
    return {
        "images": [{"id": i, "width": 640, "height": 480} for i in range(1, images + 1)],
        "annotations": annotations,
        "categories": [{"id": i, "name": f"category {i}"} for i in range(1, CATEGORIES + 1)],
    }, found


def _boxes(rng: np.random.Generator, count: int) -> Any:
    """x, y, width, height in pixels: sides from 7 to 245, as many of each magnitude."""
    return np.hstack([rng.uniform(0, 400, (count, 2)), np.exp(rng.uniform(2, 5.5, (count, 2)))])


if __name__ == "__main__":
    sys.exit(main())
