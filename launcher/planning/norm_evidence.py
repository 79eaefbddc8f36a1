"""What normalization over few images costs, measured by bench/small_batch.py.

mAP of SSD-MobileNetV2 x0.35 (60 norm layers) at 128 px with 32 images a step, on drawn shapes
before flat and before patchy backgrounds, by the kind of normalization and the images that one
set of moments is taken over. Means over the seeds that were run; docs/recipes.md shows how many. A
test holds the table equal to bench/results/small_batch.jsonl.
"""

from dataclasses import dataclass

REFERENCE_IMAGES = 32

MEASURED: dict[tuple[str, int], tuple[float, float]] = {
    ("batch", 2): (0.512, 0.548),
    ("batch", 4): (0.652, 0.553),
    ("batch", 8): (0.747, 0.669),
    ("batch", 32): (0.778, 0.757),
    ("moving", 2): (0.771, 0.749),
    ("moving", 4): (0.742, 0.777),
    ("moving", 8): (0.760, 0.735),
    ("moving", 32): (0.748, 0.776),
    ("renorm", 2): (0.761, 0.745),
    ("renorm", 4): (0.756, 0.727),
    ("renorm", 8): (0.765, 0.745),
    ("renorm", 32): (0.771, 0.769),
    ("group", 32): (0.440, 0.425),
}
"""(flat, patchy). Groups are of one image, so its number of images is that of a step."""

_REFERENCE = MEASURED["batch", REFERENCE_IMAGES]


@dataclass(frozen=True)
class Effect:
    """Of a kind of normalization over `images`, the nearest measured number that is not above."""

    kind: str
    images: int
    scores: tuple[float, float]

    @property
    def kept(self) -> float:
        """Share of the mAP of batch normalization over 32 images; mean of the two backgrounds."""
        return sum(ours / full for ours, full in zip(self.scores, _REFERENCE, strict=True)) / 2

    @property
    def text(self) -> str:
        over = "" if self.kind == "group" else f" over {self.images} images"
        ours, full = (" and ".join(f"{x:.2f}" for x in pair) for pair in (self.scores, _REFERENCE))
        return (
            f"a small detector's mAP on two sets: {ours} with norm: {self.kind}{over}, {full} with "
            f"batch over {REFERENCE_IMAGES}"
        )


def effect(kind: str, images: int) -> Effect | None:
    """None where that kind was not measured."""
    measured = sorted(n for name, n in MEASURED if name == kind)
    if not measured:
        return None
    nearest = max((n for n in measured if n <= images), default=measured[0])
    return Effect(kind, nearest, MEASURED[kind, nearest])


def best(images: int) -> Effect:
    """What keeps most of the mAP over so few images, of the kinds that start from nothing."""
    found = [effect(kind, images) for kind in ("moving", "renorm")]
    return max((e for e in found if e is not None), key=lambda e: e.kept)
