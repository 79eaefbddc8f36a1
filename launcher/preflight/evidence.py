"""What mistakes cost: figures that were measured or published, each with where it is from.

The small detector is SSD-MobileNetV2 x0.35 at 128 px on drawn shapes, 32 images a step
(docs/recipes.md, docs/check.md). The published cases are of COCO and mix several causes.
"""

from launcher.planning.norm_evidence import effect
from launcher.preflight.finding import Cost

PUBLISHED_SMALL_BATCHES = (
    "others' runs below the recipe's batch: 2.7 of 33.6 mAP (EfficientDet-D0, batch 16), 15.8 of "
    "45.4 (D3, batch 8, frozen backbone), 14 of 45.4 (D3, batch 2, #10530)"
)
BATCH_LOST = 0.75
"""The middle of what those lost: 92, 65 and 69 %."""

NORM_UNKNOWN = Cost("no figure is known (docs/recipes.md)", 0.2)
FROZEN_NORM = Cost("none that is known, where the checkpoint's data are like yours", 0.02)

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


def norm_cost(kind: str, images: int) -> Cost:
    """Of train.norm over so few images, by bench/small_batch.py."""
    measured = effect(kind, images)
    if measured is None:
        return FROZEN_NORM if kind == "frozen" else NORM_UNKNOWN
    return Cost(measured.text, max(0.0, 1 - measured.kept))
