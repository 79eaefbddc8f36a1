"""One record without its faults. Pure: an Example in, what was changed out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from launcher.preflight.contents import Labels
from launcher.records import values
from launcher.records.damage import BOX, BOX_TOLERANCE, LABEL, TEXT

PER_OBJECT = "image/object/"
PIXELS_ABOVE = 2.0
"""Sides of boxes above are pixels, not parts of the image."""
LITTLE = 0.05
"""How far a box may stick out, as a part of the image's side, to be cut at its edge. Further out it
is somewhere else, and is dropped."""


@dataclass(frozen=True)
class Change:
    """`dropped`: an object is gone; else something of it, or of the record, was set right."""

    what: str
    dropped: bool = False


def mend(example: Any, labels: Labels, size: tuple[int, int]) -> list[Change]:
    """Changes `example` in place. `size` is the picture's width and height in pixels."""
    changes = [*_mend_size(example, size)]
    count = len(values(example, BOX[0]))
    boxes = [list(box) for box in zip(*(values(example, name) for name in BOX), strict=True)]
    if _are_pixels(boxes, size):
        width, height = size
        boxes = [[b[0] / height, b[1] / width, b[2] / height, b[3] / width] for b in boxes]
        changes.append(Change(f"{count} boxes in pixels, divided by {width} x {height}"))
    keep = []
    for i, box in enumerate(boxes):
        reason = _box_fault(box) or _label_fault(example, labels, i)
        if reason:
            changes.append(Change(f"object {i}: {reason}", dropped=True))
            continue
        keep.append(i)
        if any(not 0 <= side <= 1 for side in box):
            outside = any(not -BOX_TOLERANCE <= s <= 1 + BOX_TOLERANCE for s in box)
            boxes[i] = [min(1.0, max(0.0, side)) for side in box]
            if outside:
                changes.append(Change(f"object {i}: box cut at the image's edge"))
    if changes:
        _write(example, boxes, keep, count)
    return changes


def _mend_size(example: Any, size: tuple[int, int]) -> list[Change]:
    changes = []
    for name, side in zip(("image/width", "image/height"), size, strict=True):
        said = list(values(example, name))
        if said and said != [side]:
            example.features.feature[name].int64_list.value[:] = [side]
            changes.append(Change(f"{name} {said[0]}, set to the picture's {side}"))
    return changes


def _are_pixels(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> bool:
    """All of them within the picture when read so, and at least one that can be nothing else."""
    width, height = size
    if not any(side > PIXELS_ABOVE for box in boxes for side in box):
        return False
    return all(
        box[0] >= 0 and box[1] >= 0 and box[2] <= height + 1 and box[3] <= width + 1
        for box in boxes
    )


def _box_fault(box: Sequence[float]) -> str:
    ymin, xmin, ymax, xmax = box
    shown = ", ".join(f"{side:.4g}" for side in box)
    if not all(-LITTLE <= side <= 1 + LITTLE for side in box):  # a NaN is outside, too
        return f"box [{shown}] is outside its image"
    if ymin > ymax or xmin > xmax:
        return f"box [{shown}] is inverted"
    inside = [min(1.0, max(0.0, side)) for side in box]
    if inside[0] == inside[2] or inside[1] == inside[3]:
        return f"box [{shown}] has no area"
    return ""


def _label_fault(example: Any, labels: Labels, i: int) -> str:
    texts = values(example, TEXT)
    if labels.texts is not None and texts:
        text = texts[i].decode(errors="replace")
        return "" if text in labels.texts else f'"{text}" is not in the label map'
    numbers = values(example, LABEL)
    if not numbers or 1 <= numbers[i] <= labels.num_classes:
        return ""
    return f"label {numbers[i]} is not in 1..{labels.num_classes}"


def _write(example: Any, boxes: Sequence[Sequence[float]], keep: Sequence[int], count: int) -> None:
    """Every list that has one value an object keeps those of `keep`."""
    features = example.features.feature
    for name in list(features):
        found = values(example, name)
        if name.startswith(PER_OBJECT) and len(found) == count:
            kind = features[name].WhichOneof("kind")
            kept = [found[i] for i in keep]
            getattr(features[name], kind).value[:] = kept
    for side, name in enumerate(BOX):
        if keep or name in features:
            features[name].float_list.value[:] = [boxes[i][side] for i in keep]
