"""The val images that a checkpoint does best and worst on, with truth and detections.

They are ranked by panoptic quality (Kirillov et al., arXiv 1801.00868) of boxes: the sum of the
IoUs of the matched pairs, divided by (matched + missed / 2 + wrong / 2). A pair is of one class
and has an IoU of at least 0.5; of the detections those count that are shown, above MIN_SCORE.
"""

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from launcher.evaluate.ground_truth import Box, ValImage
from launcher.evaluate.pictures import MAX_BOXES, MIN_SCORE

EACH = 4
"""Images of either kind: best and worst."""
SIDE = 480
"""Pixels of the longer side of a picture that is kept: about 30 kB each."""
MATCHED = 0.5
"""IoU of a pair."""

CocoResult = Mapping[str, Any]


@dataclass(frozen=True)
class Ranked:
    image: ValImage
    quality: float
    """0 to 1."""
    found: tuple[CocoResult, ...]
    """The detections that are shown, best first."""


def rank(images: Sequence[ValImage], results: Sequence[CocoResult]) -> list[Ranked]:
    """From worst to best, those with more objects first among equals. Images that have neither
    truth nor detections are left out: there is nothing to see in them."""
    by_image: dict[int, list[CocoResult]] = defaultdict(list)
    for result in results:
        if result["score"] >= MIN_SCORE:
            by_image[result["image_id"]].append(result)
    ranked = []
    for image in images:
        found = sorted(by_image[image.id], key=lambda r: -r["score"])[:MAX_BOXES]
        if image.boxes or found:
            ranked.append(Ranked(image, quality(image.boxes, found), tuple(found)))
    return sorted(ranked, key=lambda r: (r.quality, -len(r.image.boxes)))


def choose(ranked: Sequence[Ranked], each: int = EACH) -> dict[str, list[Ranked]]:
    """`{"best": ..., "worst": ...}`, the most telling one first; no image is in both."""
    worst = list(ranked[: min(each, (len(ranked) + 1) // 2)])
    rest = sorted(ranked[len(worst) :], key=lambda r: (-r.quality, -len(r.image.boxes)))
    return {"best": rest[:each], "worst": worst}


def quality(truth: Sequence[Box], found: Sequence[CocoResult]) -> float:
    """`found` with the best score first. A crowd is neither missed, nor wrong what lies in it."""
    open_boxes = [box for box in truth if not box.crowd]
    crowds = [box for box in truth if box.crowd]
    overlaps, wrong = 0.0, 0
    for result in found:
        pairs = [(_iou(result["bbox"], b), i) for i, b in enumerate(open_boxes) if _same(result, b)]
        best, index = max(pairs, default=(0.0, 0))
        if best >= MATCHED:
            overlaps += best
            del open_boxes[index]
        elif not any(_same(result, b) and _inside(result["bbox"], b) >= MATCHED for b in crowds):
            wrong += 1
    matched = sum(not box.crowd for box in truth) - len(open_boxes)
    counted = matched + len(open_boxes) / 2 + wrong / 2
    return overlaps / counted if counted else 1.0


def to_json(
    step: int,
    chosen: Mapping[str, Sequence[Ranked]],
    encoded: Mapping[int, bytes],
    categories: Mapping[int, str],
) -> dict[str, Any]:
    """Boxes are `[x, y, width, height, class, score]` in pixels of the original image."""
    return {
        "step": step,
        "min_score": MIN_SCORE,
        "images": [
            {
                "kind": kind,
                "source_id": r.image.source_id,
                "quality": round(r.quality, 4),
                "width": r.image.width,
                "height": r.image.height,
                "jpeg": _jpeg(encoded[r.image.id]),
                "truth": [_truth(box, categories) for box in r.image.boxes],
                "found": [_found(result, categories) for result in r.found],
            }
            for kind, ranked in chosen.items()
            for r in ranked
        ],
    }


def _same(result: CocoResult, box: Box) -> bool:
    return bool(result["category_id"] == box.category)


def _overlap(bbox: Sequence[float], box: Box) -> float:
    x, y, width, height = bbox
    across = min(x + width, box.x + box.width) - max(x, box.x)
    down = min(y + height, box.y + box.height) - max(y, box.y)
    return max(0.0, across) * max(0.0, down)


def _iou(bbox: Sequence[float], box: Box) -> float:
    both = _overlap(bbox, box)
    either = bbox[2] * bbox[3] + box.width * box.height - both
    return both / either if either > 0 else 0.0


def _inside(bbox: Sequence[float], crowd: Box) -> float:
    """The share of a detection that lies in a crowd: what COCO takes for its IoU."""
    area = bbox[2] * bbox[3]
    return _overlap(bbox, crowd) / area if area > 0 else 0.0


def _jpeg(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    small.save(written, format="JPEG", quality=88)
    return base64.b64encode(written.getvalue()).decode()


def _truth(box: Box, names: Mapping[int, str]) -> list[Any]:
    sides = [round(v, 1) for v in (box.x, box.y, box.width, box.height)]
    name = names.get(box.category, str(box.category))
    return [*sides, f"{name} (crowd)" if box.crowd else name, None]


def _found(result: CocoResult, names: Mapping[int, str]) -> list[Any]:
    category = result["category_id"]
    name = names.get(category, str(category))
    return [*(round(v, 1) for v in result["bbox"]), name, round(result["score"], 3)]
