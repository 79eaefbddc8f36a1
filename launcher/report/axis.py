"""Where the ticks of an axis are, how they are written, and fewer points for the same line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Maps values from `low` to `high` to positions 0 to 1."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        place = (self._scaled(value) - low) / (high - low)
        return min(1.0, max(0.0, place))

    def ticks(self, about: int = 5) -> list[float]:
        if not self.log:
            step = _nice((self.high - self.low) / about)
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            return [i * step for i in range(first, last + 1)]
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = max(1, len(decades) // about)
        ticks = [10.0**d for d in decades[::every] if self.low <= 10.0**d <= self.high]
        if len(ticks) >= 3:
            return ticks
        finer = [m * 10.0**d for d in decades for m in (1, 2, 5)]
        return [t for t in finer if self.low <= t <= self.high] or [self.low, self.high]

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value


def axis_of(values: Sequence[float], *, log: bool = False, zero: bool = True) -> Axis:
    """That holds all of them. `log` is dropped where a value is not above 0; `zero`: a linear axis
    of positive values begins there."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log and low > 0:
        low, high = (low / 1.5, high * 1.5) if high < low * 1.5 else (low / 1.1, high * 1.1)
        return Axis(low, high, log=True)
    if zero and low > 0:
        low = 0.0
    if high <= low:
        low, high = low - 0.5 * (low < 0), low + (abs(low) or 1.0)
    step = _nice((high - low) / 5)
    return Axis(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step)


def short(value: float) -> str:
    """`0`, `0.05`, `250`, `32k`, `1.2M`, `2e-05`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}" if value else "0"


def thinned(points: Sequence[Point], buckets: int = 200) -> list[Point]:
    """At most twice as many points as `buckets`, lowest and highest of each: no peak is lost."""
    known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if len(known) <= 2 * buckets:
        return known
    kept: list[Point] = []
    for i in range(buckets):
        part = known[i * len(known) // buckets : (i + 1) * len(known) // buckets]
        ends = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def smoothed(points: Sequence[Point], share: float = 0.03) -> list[Point]:
    """The mean around each point, over about this share of all; it lags behind nothing."""
    known = [(x, y) for x, y in points if math.isfinite(y)]
    sums = list(accumulate((y for _, y in known), initial=0.0))
    most = max(0, round(share * len(known) / 2))
    out: list[Point] = []
    for i, (x, _) in enumerate(known):
        half = min(most, i, len(known) - 1 - i)  # as much on either side, so less at the ends
        out.append((x, (sums[i + half + 1] - sums[i - half]) / (2 * half + 1)))
    return out


def _nice(step: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten."""
    if step <= 0 or not math.isfinite(step):
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return float(next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9)))
