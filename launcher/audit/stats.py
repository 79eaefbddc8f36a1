"""The numbers of a data set: classes, sizes against the anchors, images. Computed, not printed."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from launcher.odapi import pipeline as pipelines
from launcher.planning import Plan
from launcher.preflight.anchors import MATCHED
from launcher.preflight.boxes import in_pixels, match
from launcher.preflight.geometry import resizer_of
from launcher.preflight.reading import DataRead, Split

PERCENTILES = (5, 25, 50, 75, 95)
SIDES = (0, 8, 16, 32, 64, 128, 256, 512, 4096)
"""Borders of the bins of object sizes, in pixels of the model's input."""
SMALL, MEDIUM = 32.0**2, 96.0**2
"""COCO's borders of small and medium areas, in pixels of the original image."""
_COMMON_SIZES = 5

Numbers = dict[str, float]


@dataclass(frozen=True)
class Bin:
    """Objects from `low` to `high` px; `matched`: the share with an anchor over 0.5 IoU, None
    without anchors."""

    low: int
    high: int
    objects: int
    matched: float | None


@dataclass(frozen=True)
class SplitStats:
    """Of the records that were looked at; `images` counts all. Sizes are (width, height)."""

    name: str
    files: int
    images: int
    file_bytes: int
    looked_at: int
    decoded: int
    """Of those looked at: whose picture could be."""
    objects: int
    crowds: int
    empty_images: int
    unusable: int
    classes: dict[int, int]
    """Objects of each label."""
    class_images: dict[int, int]
    """Images with each label."""
    objects_per_image: Numbers
    widths: Numbers
    heights: Numbers
    common_sizes: list[tuple[str, int]]
    coco_areas: Numbers
    """Shares of small, medium and large objects as COCO has them."""
    sides: Numbers
    """Root of the area in pixels of the model's input."""
    aspects: Numbers
    """Width / height at the model's input."""
    bins: list[Bin]
    unmatched: float | None

    counts: npt.NDArray[np.int32] = field(repr=False, compare=False)
    """Objects of each image; with the following for plots."""
    side_values: npt.NDArray[np.float64] = field(repr=False, compare=False)
    aspect_values: npt.NDArray[np.float64] = field(repr=False, compare=False)
    image_sizes: npt.NDArray[np.int32] = field(repr=False, compare=False)
    """[width, height]"""


@dataclass(frozen=True)
class Unread:
    """A file that the numbers are without: it cannot be opened."""

    split: str
    file: str
    what: str
    remedy: str


_ARRAYS = ("counts", "side_values", "aspect_values", "image_sizes")


@dataclass(frozen=True)
class Stats:
    name: str
    input_size: str
    """Of the model, as "896 x 896"; "" where it is not known."""
    anchors: dict[str, float]
    """count, smallest and largest in pixels; empty without."""
    names: dict[int, str]
    splits: tuple[SplitStats, ...]
    unread: tuple[Unread, ...] = ()

    def to_json(self) -> dict[str, Any]:
        splits = {}
        for split in self.splits:
            values = {k: v for k, v in vars(split).items() if k not in _ARRAYS}
            splits[split.name] = values | {"bins": [vars(one) for one in split.bins]}
        return {
            "name": self.name,
            "input_size": self.input_size,
            "anchors": self.anchors,
            "names": self.names,
            "unread": [vars(one) for one in self.unread],
            **splits,
        }


def stats_of(plan: Plan, read: DataRead) -> Stats:
    model = pipelines.parse(plan.pipeline_text, plan.name).model
    resizer = resizer_of(model)
    found = match(read.train.contents, model) or match(read.val.contents, model)
    anchors = {}
    if found:
        a = found.anchors
        anchors = {"count": a.count, "smallest": a.smallest, "largest": a.largest}
    return Stats(
        name=plan.name,
        input_size=str(resizer) if resizer else "",
        anchors=anchors,
        names=dict(read.labels.names),
        splits=tuple(_split(split, model) for split in read.splits if split.files),
        unread=tuple(
            Unread(split.name, problem.place, problem.what, problem.remedy)
            for split in read.splits
            for error in split.missing
            for problem in error.problems
        ),
    )


def _split(split: Split, model: Any) -> SplitStats:
    c = split.contents
    good = c.width > 0
    width, height = c.width[good], c.height[good]
    owner, found = c.owner, match(c, model)
    sizes = Counter(zip(width.tolist(), height.tolist(), strict=True)).most_common(_COMMON_SIZES)
    side, aspect, iou = _boxes(c, model)
    pairs = np.unique(np.stack([owner, c.label], axis=1), axis=0)
    return SplitStats(
        name=split.name,
        files=len(split.files),
        images=split.count,
        file_bytes=sum(file.file_bytes for file in split.files),
        looked_at=c.looked_at,
        decoded=int(good.sum()),
        objects=len(c.boxes),
        crowds=int(c.crowd.sum()),
        empty_images=int((c.objects == 0).sum()),
        unusable=len({(fault.path, fault.number) for fault in c.faults}),
        classes=_counted(c.label),
        class_images=_counted(pairs[:, 1]),
        objects_per_image=_numbers(c.objects),
        widths=_numbers(width),
        heights=_numbers(height),
        common_sizes=[(f"{w} x {h}", count) for (w, h), count in sizes],
        coco_areas=_areas(split),
        sides=_numbers(side),
        aspects=_numbers(aspect),
        bins=_bins(side, iou),
        unmatched=found.unmatched if found else None,
        counts=c.objects,
        side_values=side,
        aspect_values=aspect,
        image_sizes=np.stack([width, height], axis=1),
    )


def _boxes(c: Any, model: Any) -> tuple[Any, Any, Any]:
    """Side and aspect in the model's input, and the best IoU (None without anchors)."""
    resizer = resizer_of(model)
    if resizer is None:
        none = np.zeros(0)
        return none, none, None
    boxes, _ = in_pixels(c, resizer)
    height, width = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    solid = (height > 0) & (width > 0)
    found = match(c, model)
    iou = found.iou[solid] if found else None
    return np.sqrt(height * width)[solid], width[solid] / height[solid], iou


def _areas(split: Split) -> Numbers:
    c = split.contents
    sides = c.boxes.astype(float)
    share = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    area = share * (c.width.astype(float) * c.height)[c.owner]
    if not len(area):
        return {}
    small, large = float((area < SMALL).mean()), float((area >= MEDIUM).mean())
    return {"small": small, "medium": 1 - small - large, "large": large}


def _bins(side: Any, iou: Any) -> list[Bin]:
    bins = []
    for low, high in pairwise(SIDES):
        inside = (side >= low) & (side < high)
        count = int(inside.sum())
        matched = float((iou[inside] >= MATCHED).mean()) if iou is not None and count else None
        bins.append(Bin(low, high, count, matched))
    return bins


def _counted(values: Any) -> dict[int, int]:
    labels, counts = np.unique(values, return_counts=True)
    return {int(label): int(count) for label, count in zip(labels, counts, strict=True)}


def _numbers(values: Any) -> Numbers:
    """min, percentiles, max and mean; empty where there is no value."""
    if not len(values):
        return {}
    found = {f"p{p}": float(np.percentile(values, p)) for p in PERCENTILES}
    return {
        "min": float(values.min()),
        **found,
        "max": float(values.max()),
        "mean": float(values.mean()),
    }
