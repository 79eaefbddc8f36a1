"""What missing data costs, by published measurements."""

from itertools import pairwise
from math import log

from launcher.preflight.finding import Cost

_MEASURED = ((0.01, 9.05), (0.02, 12.70), (0.05, 18.47), (0.10, 23.86), (1.0, 37.63))
"""Share of COCO's train images -> mAP of Faster R-CNN with ResNet-50 FPN trained on them to its
best: the supervised baselines of arXiv 2005.04757, table 1."""


def share_lost(share: float) -> float:
    """The share of the mAP that is lost on `share` of the images (0 to 1)."""
    if share >= 1:
        return 0.0
    whole = _MEASURED[-1][1]
    smallest, its_map = _MEASURED[0]
    if share <= smallest:
        return 1 - its_map / whole * share / smallest
    pairs = pairwise(_MEASURED)
    (low, low_map), (high, high_map) = next(pair for pair in pairs if share <= pair[1][0])
    part = log(share / low) / log(high / low)
    return 1 - (low_map + part * (high_map - low_map)) / whole


def of_share(share: float) -> Cost:
    """Of training on `share` of the images."""
    if share >= 1:
        return Cost("nothing that is known: as many images are there as should be")
    lost = share_lost(share)
    smallest, its_map = _MEASURED[0]
    known = max(share, smallest)
    kept = its_map / _MEASURED[-1][1] if share < smallest else 1 - lost
    return Cost(
        f"{percent(1 - share)} of the train images are never seen; {percent(known)} of COCO gave "
        f"{percent(round(kept, 2))} of the mAP of all of it (arXiv 2005.04757)",
        lost,
    )


def percent(share: float) -> str:
    """1 %, 0.4 %, 99.1 %: exact near both ends, and never rounded to none or all."""
    value = 100 * share
    near = min(value, 100 - value)
    digits = 0 if near >= 9.5 or near in (0, 100) else 1 if near >= 0.95 else 2
    text = f"{value:.{digits}f}"
    if digits:
        text = text.rstrip("0").rstrip(".")
    if 0 < value < 0.005:
        return "under 0.01 %"
    return "over 99.99 %" if text == "100" and value < 100 else f"{text} %"


def many(count: int, what: str) -> str:
    """1 file, 2 files."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
