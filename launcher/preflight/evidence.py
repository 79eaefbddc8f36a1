"""What mistakes cost: figures that were measured or published, each with where it is from.

The small detector is SSD-MobileNetV2 x0.35 at 128 px on drawn shapes, 32 images a step
(docs/recipes.md, docs/check.md). The published cases are of COCO and mix several causes.
"""

from launcher.planning.norm import MOVING_AGAINST_BATCH
from launcher.preflight.finding import Cost

PUBLISHED_SMALL_BATCHES = (
    "others' runs below the recipe's batch: 2.7 of 33.6 mAP (EfficientDet-D0, batch 16), 15.8 of "
    "45.4 (D3, batch 8, frozen backbone), 14 of 45.4 (D3, batch 2, #10530)"
)
BATCH_LOST = 0.75
"""The middle of what those lost: 92, 65 and 69 %."""

NORM_OVER_TWO = (
    "a small detector's mAP with batch norm over 2 images of 32: 0.02 to 0.03 in place of 0.42 on "
    "flat backgrounds, 0.36 in place of 0.51 to 0.54 on patchy ones"
)
NORM_OVER_TWO_LOST = 0.6
NORM_OVER_FOUR = "a small detector's mAP with batch norm over 4 images of 32: 0.34 in place of 0.42"
NORM_OVER_FOUR_LOST = 0.2

_SMALL = "a small detector's mAP"
OTHER_NORMS = {
    "renorm": Cost(
        f"{_SMALL} over 2 images of 32: 0.34 in place of 0.42, 0.48 in place of 0.51 to 0.54", 0.14
    ),
    "group": Cost(
        f"{_SMALL} over 2 images of 32: 0.32 in place of 0.42, 0.38 in place of 0.51 to 0.54", 0.26
    ),
    "frozen": Cost("none that is known, where the checkpoint's data are like yours", 0.02),
}
"""A small detector's mAP on flat and on patchy backgrounds, against batch norm over 32."""

HIGH_RATE = (
    "a small detector's mAP at 2x its rate, three runs: 0.31, 0.30 and 0.04 in place of 0.42"
)
HIGH_RATE_LOST = 0.5
"""The middle of 0.26 and 0.90, and no figure is known above 2x but those that are NaN."""

NAN = "the loss becomes NaN (#10530: 0.08 at batch 2, 64x)"

LOWEST_NAN = 64

FROZEN_FROM_NOTHING = Cost(
    "no figure is known for random weights; 15.8 of 45.4 mAP with a trained, frozen backbone "
    "(EfficientDet-D3, batch 8)",
    0.65,
)


def moving_cost() -> Cost:
    """Of `norm: moving` over 2 images, measured by bench/small_batch.py."""
    pairs = [f"{few:.2f} in place of {many:.2f}" for few, many in MOVING_AGAINST_BATCH.values()]
    lost = [1 - few / many for few, many in MOVING_AGAINST_BATCH.values()]
    text = f"a small detector's mAP over 2 images of 32: {', '.join(pairs)}"
    return Cost(text, (min(lost) + max(lost)) / 2)
