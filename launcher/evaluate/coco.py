"""COCO's numbers. pycocotools certifies; hotcoco, the same numbers in a fiftieth of the time, is
for checkpoints in between. A test holds the two equal on what a detector can give them.
"""

import contextlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hotcoco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from launcher.contract import COCO_NUMBERS

CERTIFIED, FAST = "pycocotools", "hotcoco"
EQUAL = 1e-6  # between the two engines, of a number that is a fraction of 1


@dataclass(frozen=True)
class Scores:
    """`numbers` by COCO_NUMBERS, fractions, -1.0 where there is no box to score. `per_category` is
    the AP over IoU 0.50:0.95 of each category, None without ground truth.
    """

    numbers: dict[str, float]
    per_category: dict[str, float | None]
    engine: str


def score(dataset: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> Scores:
    """Scores COCO results (`image_id, category_id, bbox [x, y, w, h] in pixels, score`).

    `dataset` is COCO ground truth (`images, annotations, categories`). Every image of it counts,
    also one without detections; no detections at all give 0.0.
    """
    with _quiet():
        evaluation = COCOeval(_index(dataset), _index(_results(dataset, detections)), "bbox")
        return _scores(dataset, evaluation, CERTIFIED)


def score_fast(dataset: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> Scores:
    """The same by hotcoco."""
    results: Any = list(detections)  # load_res takes no other kind of sequence, nor an empty list
    with _quiet():
        truth = hotcoco.COCO(dict(dataset))
        nothing = {**dataset, "annotations": []}
        found = truth.load_res(results) if results else hotcoco.COCO(nothing)
        return _scores(dataset, hotcoco.COCOeval(truth, found, "bbox"), FAST)


def difference(a: Scores, b: Scores) -> float:
    """The largest one of any number, a category's AP included; infinite where one has none."""
    if a.per_category.keys() != b.per_category.keys():
        return float("inf")
    pairs = [(a.numbers[name], b.numbers[name]) for name in COCO_NUMBERS]
    for name, one in a.per_category.items():
        other = b.per_category[name]
        if (one is None) != (other is None):
            return float("inf")
        pairs.append((one or 0.0, other or 0.0))
    return max(abs(one - other) for one, other in pairs)


def _quiet() -> contextlib.redirect_stdout[io.StringIO]:
    """Both engines report with print() and have no setting against it."""
    return contextlib.redirect_stdout(io.StringIO())


def _scores(dataset: Mapping[str, Any], evaluation: Any, engine: str) -> Scores:
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    numbers = dict(zip(COCO_NUMBERS, map(float, evaluation.stats), strict=True))
    return Scores(numbers, _per_category(dataset["categories"], evaluation), engine)


def _index(dataset: Mapping[str, Any]) -> Any:
    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _results(dataset: Mapping[str, Any], detections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What COCO.loadRes makes of a results file. It fails on an empty one, and gives every box a
    polygon that a box evaluation never reads.
    """
    annotations = [
        {**d, "area": d["bbox"][2] * d["bbox"][3], "id": i, "iscrowd": 0}
        for i, d in enumerate(detections, start=1)
    ]
    return {**dataset, "annotations": annotations}


def _per_category(
    categories: Sequence[Mapping[str, Any]], evaluation: Any
) -> dict[str, float | None]:
    # precision: [IoU threshold, recall, category, area range, max detections]; -1 marks a category
    # without ground truth. Area range 0 is "all", the last maximum is 100.
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    names = {c["id"]: str(c["name"]) for c in categories}
    count = Counter(names.values())
    result: dict[str, float | None] = {}
    for k, category in enumerate(evaluation.params.catIds):
        name = names[int(category)]
        key = name if count[name] == 1 else f"{name} ({category})"
        of_category = precision[:, :, k]
        known = of_category[of_category > -1]
        result[key] = float(known.mean()) if known.size else None
    return result
