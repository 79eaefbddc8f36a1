"""How far a training's own numbers are from a reference's. Pure, on `Facts` alone.

Two rules carry a rate to another batch: the linear one (arXiv 1706.02677), and for Adam the square
root of the batches' ratio beside it (arXiv 2205.10287): what lies between the two is by the rule.
"""

from dataclasses import dataclass
from fractions import Fraction

from launcher.planning.arithmetic import exact, scale_of
from launcher.planning.schedule import Facts


@dataclass(frozen=True)
class RateRule:
    """The rates that belong to a batch: one, or for Adam all from `low` to `high`."""

    low: float
    high: float

    def off(self, rate: float) -> float:
        """`rate` as a multiple of the nearest of them: 1 is by the rule, 8 is 8x too high."""
        if self.low <= rate <= self.high:
            return 1.0
        return float(exact(rate) / exact(self.high if rate > self.high else self.low))


def rate_rule(batch: int, reference: Facts) -> RateRule:
    """For `batch` images a step, from the reference's rate at its own batch."""
    scale = scale_of(batch, reference.batch)
    linear = float(exact(reference.learning_rate) * scale)
    if reference.optimizer != "adam":
        return RateRule(linear, linear)
    root = reference.learning_rate * float(scale) ** 0.5
    return RateRule(min(linear, root), max(linear, root))


def image_share(own: Facts, reference: Facts) -> Fraction:
    """The images that a training sees, as a part of the reference's."""
    return Fraction(own.images, reference.images)


def warmup_share(own: Facts, reference: Facts) -> Fraction | None:
    """The images of the warm-up, likewise; None where the reference has no warm-up."""
    if not reference.warmup_steps:
        return None
    return Fraction(own.warmup_steps * own.batch, reference.warmup_steps * reference.batch)


def times(factor: float) -> str:
    """8x"""
    return f"{factor:.3g}x"


def millions(images: int) -> str:
    """38.4 M"""
    return f"{images / 1e6:.3g} M" if images >= 1e5 else f"{images:,}"


def percent(share: Fraction | float) -> str:
    """3 %, 0.02 %: two digits below 10, whole ones above."""
    value = 100 * float(share)
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"
