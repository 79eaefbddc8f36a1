"""boxes: are they in their images, and of sizes that the anchors match?"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from launcher.odapi.protos import Message
from launcher.preflight import faults
from launcher.preflight.anchors import MATCHED, Anchors, Array, anchors_of
from launcher.preflight.contents import Contents
from launcher.preflight.data_cost import many, percent
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.geometry import Resizer, resizer_of
from launcher.preflight.reading import DataRead, Split
from launcher.records.damage import BOX_TOLERANCE

NAME = "boxes"

Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
WORTH_A_WORD = 0.05
"""Of the objects without an anchor over 0.5 IoU: EfficientDet-D7 on COCO has 9 % (80 images)."""
MOST_OF_THEM = 0.65
"""From here on a warning. The worst published recipe, SSD MobileNetV2 at 300 px, has 56 %."""
EMPTY = 0.5
"""Of the images without an object: a warning. COCO has 1 %."""
TINY = 4.0
"""Pixels of the model's input: the root of an object's area, below which nothing is seen of it. The
finest feature map of SSDs and EfficientDet has cells of 8, CenterNet's of 4."""
PIXELS = 2.0
"""A fraction of a side is never above; a box in pixels nearly always is."""


@dataclass(frozen=True)
class Match:
    """How the anchors fit the objects that are no crowds, after resizing and before augmentation.

    Each array has one entry an object of `Contents` that was measured.
    """

    anchors: Anchors
    iou: Array
    height: Array
    width: Array
    entries: Indices
    """Which objects of the contents these are."""

    @property
    def unmatched(self) -> float:
        return float((self.iou < MATCHED).mean()) if len(self.iou) else 0.0


def judge(read: DataRead, pipeline: Message, allowed: int, *, published: bool) -> Iterator[Finding]:
    """`published`: a published recipe on the data that its mAP is of."""
    for split in read.splits:
        yield from _faulty(split, allowed)
        yield from _flat(split)
        yield from _empty(split)
        yield from _crowds(split)
    yield from _unmatched(read.train, pipeline, published=published)
    yield from _tiny(read.train, pipeline)


def match(contents: Contents, model: Message) -> Match | None:
    """None for a model without anchors, or with a resizer that is not followed here."""
    resizer = resizer_of(model)
    if resizer is None:
        return None
    canvas = resizer.canvas or (resizer.most, resizer.most)
    anchors = anchors_of(model, canvas)
    boxes, entries = in_pixels(contents, resizer)
    if anchors is None:
        return None
    return Match(
        anchors,
        anchors.best_iou(boxes),
        boxes[:, 2] - boxes[:, 0],
        boxes[:, 3] - boxes[:, 1],
        entries,
    )


def in_pixels(contents: Contents, resizer: Resizer) -> tuple[Array, Indices]:
    """Boxes in the model's input, of good objects that are no crowds; and which they are."""
    owner = contents.owner
    height, width = contents.height.astype(float), contents.width.astype(float)
    good = (height > 0)[owner] & ~contents.crowd & ~_outside(contents) & ~_inverted(contents)
    entries = np.flatnonzero(good)
    rows, columns = resizer.resized(np.maximum(height, 1), np.maximum(width, 1))
    scale = np.stack([rows, columns, rows, columns], axis=1)[owner[entries]]
    return contents.boxes[entries].astype(float) * scale, entries


def _outside(contents: Contents) -> Mask:
    low, high = -BOX_TOLERANCE, 1 + BOX_TOLERANCE
    inside: Mask = np.all((contents.boxes >= low) & (contents.boxes <= high), axis=1)
    return ~inside


def _inverted(contents: Contents) -> Mask:
    boxes = contents.boxes
    return (boxes[:, 0] > boxes[:, 2]) | (boxes[:, 1] > boxes[:, 3])


def _faulty(split: Split, allowed: int) -> Iterator[Finding]:
    """Boxes at which training stops."""
    found = faults.of_kind(split, "boxes")
    if not found:
        return
    contents = split.contents
    outside, inverted = _outside(contents), _inverted(contents)
    kinds = {
        "outside of the image": int((outside & ~inverted).sum()),
        "with a minimum above the maximum (swapped coordinates)": int(inverted.sum()),
    }
    parts = [f"{count:,} {what}" for what, count in kinds.items() if count]
    what = f"of {len(contents.boxes):,} boxes {' and '.join(parts)}; the first: {found[0].what}"
    remedy = ""
    if _are_pixels(contents):
        what += f". Sides go up to {np.nanmax(contents.boxes):,.0f}: pixels, not parts of the image"
        remedy = "Divide the boxes by the image's width and height, and convert again"
    yield faults.finding(split, NAME, found, allowed, what, remedy)


def _are_pixels(contents: Contents) -> bool:
    """Whether most boxes reach where only pixels can."""
    return bool((contents.boxes.max(axis=1) > PIXELS).mean() > 0.5)


def flat(contents: Contents) -> Indices:
    """Boxes without an area."""
    boxes = contents.boxes
    return np.flatnonzero((boxes[:, 0] == boxes[:, 2]) | (boxes[:, 1] == boxes[:, 3]))


def _flat(split: Split) -> Iterator[Finding]:
    """Boxes without an area, which pass every check of the OD API."""
    contents = split.contents
    boxes = contents.boxes
    found = flat(contents)
    if not len(found):
        return
    share = len(found) / len(boxes)
    yield Finding(
        NAME,
        Severity.WARNING,
        contents.place(int(contents.owner[found[0]]), split.files),
        f"{len(found):,} of {len(boxes):,} {split.name} boxes have no area (width or height 0)",
        Cost("an anchor is forced on each, whose target is the logarithm of 0: jumps of the loss",
             max(0.05, share)) if split.name == "train"
        else Cost("objects that cannot be found count as missed", share),
        "`launcher data clean` leaves them out",
    )  # fmt: skip


def _empty(split: Split) -> Iterator[Finding]:
    contents = split.contents
    empty = int((contents.objects == 0).sum())
    images = len(contents.objects)
    if not empty:
        return
    share = empty / images
    none = empty == images
    severity = Severity.ERROR if none else Severity.WARNING if share >= EMPTY else Severity.INFO
    first = int(np.flatnonzero(contents.objects == 0)[0])
    yield Finding(
        NAME,
        severity,
        contents.place(first, split.files),
        f"{empty:,} of {images:,} {split.name} images have no object: {percent(share)}",
        Cost("there is nothing to learn or to find", 1.0) if none
        else Cost("they teach the background only", 0.1 * share),
        "Convert again with the annotations" if none
        else "Nothing, if they are meant as background" ,
    )  # fmt: skip


def _crowds(split: Split) -> Iterator[Finding]:
    contents = split.contents
    crowds = int(contents.crowd.sum())
    if not crowds:
        return
    images = len(np.unique(contents.owner[contents.crowd]))
    share = crowds / len(contents.boxes)
    cost = (
        "each is trained on as one object, as by the OD API: COCO's published mAPs include that"
        if split.name == "train"
        else "none: detections in them are not counted, as COCO has it"
    )
    yield Finding(
        NAME,
        Severity.INFO,
        contents.place(int(contents.owner[contents.crowd][0]), split.files),
        f"{crowds:,} of {len(contents.boxes):,} {split.name} objects are crowds, in "
        f"{many(images, 'image')}: {percent(share)}",
        Cost(cost),
        "Nothing",
    )


def _unmatched(train: Split, pipeline: Message, *, published: bool) -> Iterator[Finding]:
    found = match(train.contents, pipeline.model)
    if found is None or found.unmatched < WORTH_A_WORD:
        return
    side = np.sqrt(found.height * found.width)
    bad = found.iou < MATCHED
    small = bad & (side < found.anchors.smallest)
    large = bad & (side > found.anchors.largest)
    worst = int(found.entries[int(np.argmin(np.where(bad, side, np.inf)))])
    contents = train.contents
    serious = found.unmatched >= MOST_OF_THEM and not published
    resizer = resizer_of(pipeline.model)
    smallest, largest = found.anchors.smallest, found.anchors.largest
    parts = []
    if small.any():
        parts.append(
            f"{percent(small.sum() / len(side))} are smaller than the smallest anchor "
            f"({smallest:.0f} px)"
        )
    if large.any():
        parts.append(
            f"{percent(large.sum() / len(side))} larger than the largest ({largest:.0f} px)"
        )
    where = ", ".join(parts) or f"they lie between the anchors ({smallest:.0f} to {largest:.0f} px)"
    yield Finding(
        NAME,
        Severity.WARNING if serious else Severity.INFO,
        contents.place(int(contents.owner[worst]), train.files),
        f"{percent(found.unmatched)} of {len(side):,} train objects have no anchor over {MATCHED} "
        f"IoU at {resizer} px: {where}",
        Cost("the published mAP was reached with these objects" if published
             else "each gets one anchor that fits badly: such objects are found less often",
             0.0 if published else 0.3 * found.unmatched),
        "Nothing" if published
        else "A larger input, or anchors of these sizes (`launcher data stats` shows them)",
    )  # fmt: skip


def _tiny(train: Split, pipeline: Message) -> Iterator[Finding]:
    resizer, contents = resizer_of(pipeline.model), train.contents
    if resizer is None:
        return
    boxes, entries = in_pixels(contents, resizer)
    side = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    tiny = np.flatnonzero((side < TINY) & (side > 0))
    if not len(tiny):
        return
    share = len(tiny) / len(side)
    smallest = int(tiny[int(np.argmin(side[tiny]))])
    yield Finding(
        NAME,
        Severity.INFO,
        contents.place(int(contents.owner[entries[smallest]]), train.files),
        f"{len(tiny):,} of {len(side):,} train objects are smaller than {TINY:g} x {TINY:g} px at "
        f"{resizer} px: {percent(share)}; the smallest has {side[smallest]:.1f} px",
        Cost("such objects are hardly ever found", 0.1 * share),
        "Nothing, or a larger input",
    )
