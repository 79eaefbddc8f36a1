"""Where to cut a network for gradient checkpointing: arithmetic on sizes, without TensorFlow.

A network is a list of steps in an order in which they can run. Between two steps at which one
tensor alone is still wanted, it can be cut. What is kept for the backward pass is then the tensors
at the cuts, and, while one segment is computed again, all tensors inside that segment. Chen et
al. (arXiv 1604.06174) cut a chain of equal layers in pieces of the root of its length; the layers
of a detector are not equal, the first ones hold most of the memory, so the cuts are searched for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_CEILINGS = 40
"""How many ceilings for the largest segment are tried, evenly in the logarithm."""


@dataclass(frozen=True)
class Step:
    """One layer call: names of the tensors that it takes and gives, and the size of what it gives
    (in any unit, the same for all steps)."""

    takes: tuple[str, ...]
    gives: tuple[str, ...]
    size: float


@dataclass(frozen=True)
class Segment:
    """Steps [start, stop), what they take from before and what is wanted of them afterwards."""

    start: int
    stop: int
    takes: tuple[str, ...]
    gives: tuple[str, ...]


def segments(steps: Sequence[Step], outputs: Sequence[str]) -> list[Segment]:
    """The cuts that keep the least: kept tensors plus the largest segment.

    `outputs` are the tensors that the network hands out: no cut is needed to keep those.
    """
    places = [0, *_single(steps), len(steps)]
    kept = {place: sum(s.size for s in steps[place - 1 : place]) for place in places}
    ends = _best([steps[a:b] for a, b in pairwise(places)], places, kept)
    return [_segment(steps, outputs, start, stop) for start, stop in pairwise(ends)]


def _single(steps: Sequence[Step]) -> list[int]:
    """Places at which only what the step before gave is taken by any later one."""
    last_use = {name: i for i, step in enumerate(steps) for name in step.takes}
    given = {name for step in steps for name in step.gives}
    # The last step that takes something older than what the step before the place gave.
    older = max((i for name, i in last_use.items() if name not in given), default=-1)
    places = []
    for place, before in enumerate(steps[:-1], start=1):
        last = max((last_use.get(name, -1) for name in before.gives), default=-1)
        if older < place <= last:
            places.append(place)
        older = max(older, last)
    return places


def _best(
    pieces: Sequence[Sequence[Step]], places: Sequence[int], kept: dict[int, float]
) -> list[int]:
    """The places of the cuts, first and last step included, for the ceiling that keeps least."""
    sizes = [sum(step.size for step in piece) for piece in pieces]
    lowest, highest = max(sizes), sum(sizes)
    ratio = (highest / lowest) if lowest else 1.0
    ceilings = [lowest * ratio ** (i / _CEILINGS) * (1 + 1e-9) for i in range(_CEILINGS + 1)]
    return min(_cheapest(sizes, places, kept, ceiling) for ceiling in ceilings)[1]


def _cheapest(
    sizes: Sequence[float], places: Sequence[int], kept: dict[int, float], ceiling: float
) -> tuple[float, list[int]]:
    """Fewest kept when no segment is above the ceiling; (kept plus the largest, the places)."""
    cost = [0.0] + [float("inf")] * len(sizes)
    back = [0] * (len(sizes) + 1)
    for stop in range(1, len(places)):
        inside = 0.0
        for start in range(stop - 1, -1, -1):
            inside += sizes[start]
            if inside > ceiling:
                break
            if cost[start] + kept[places[start]] < cost[stop]:
                cost[stop], back[stop] = cost[start] + kept[places[start]], start
    cuts = [len(sizes)]
    while cuts[-1]:
        cuts.append(back[cuts[-1]])
    cuts.reverse()
    largest = max(sum(sizes[a:b]) for a, b in pairwise(cuts))
    return cost[-1] + largest, [places[c] for c in cuts]


def _segment(steps: Sequence[Step], outputs: Sequence[str], start: int, stop: int) -> Segment:
    inside = {name for step in steps[start:stop] for name in step.gives}
    wanted = {name for step in steps[stop:] for name in step.takes} | set(outputs)
    takes = {name: None for step in steps[start:stop] for name in step.takes if name not in inside}
    gives = [n for step in steps[start:stop] for n in step.gives if n in wanted]
    return Segment(start, stop, tuple(takes), tuple(gives))
