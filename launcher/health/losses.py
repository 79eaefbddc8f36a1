"""Is it learning? What the curve of the loss says.

The thresholds lie between what runs of this project showed at any moment: 11 that learned, and the
one with the mistakes of tensorflow/models#10530 (batch 2, a rate 8 times too high for it), which
ended at a mAP of 0.02 (docs/results.md). They tell a curve that goes nowhere, not a good one from
a very good one. All of them wait until the warm-up is over.
"""

from itertools import pairwise
from statistics import median

from launcher.health.facts import ENOUGH, Facts, chunks, learned_loss, span
from launcher.preflight.finding import Cost, Finding, Severity

WINDOWS = 10
NOT_FALLEN = 0.85
"""Of the first window. Runs that learned: at most 0.26 as soon as the warm-up was over; the other
0.77."""
RISEN = 1.15
"""Times the lowest window. Runs that learned: at most 1.01; the other 1.21."""
SWING = 0.15
"""Of the median: what the loss went up and came down again, in all. Runs that learned: at most
0.035; the other 0.29."""
PRIOR = 0.9
"""Of the classification loss of the untrained network."""
START = 3
"""Rows that are taken for those of the untrained network."""
NOTHING_LEARNED = Cost("all of the mAP: nothing is learned at this loss", 1.0)


def not_falling(facts: Facts) -> list[Finding]:
    """The loss of the newest window against the beginning, and against the lowest window."""
    if len(facts.after_warmup) < ENOUGH:
        return []
    values = [v for row in facts.rows if (v := learned_loss(row)) is not None]
    levels = chunks(values, WINDOWS)
    first, lowest, newest = levels[0], min(levels), levels[-1]
    if newest >= NOT_FALLEN * first and not facts.trained_before:
        evidence = f"the loss is {newest:.3g} now and was {first:.3g} at the beginning"
    elif newest >= RISEN * lowest:
        evidence = f"the loss is {newest:.3g} now and was {lowest:.3g} before: it rises"
    else:
        return []
    return [
        Finding(
            name="loss-not-falling",
            severity=Severity.WARNING,
            place=span(facts.rows),
            evidence=f"{evidence} (medians of tenths, without regularization)",
            cost=NOTHING_LEARNED,
            remedy="Run `launcher check` on the spec: rate against batch, labels, boxes. A rate "
            "that is far too high does this, and one that is far too low",
        )
    ]


def oscillating(facts: Facts) -> list[Finding]:
    """Up and down between windows, by more than noise: medians hide single steps."""
    rows = facts.after_warmup
    values = [v for row in rows if (v := learned_loss(row)) is not None]
    if len(values) < 4 * ENOUGH:
        return []
    levels = chunks(values, WINDOWS)
    swings, typical = _swings(levels), median(levels)
    if typical <= 0 or swings < SWING * typical:
        return []
    return [
        Finding(
            name="loss-oscillating",
            severity=Severity.WARNING,
            place=span(rows),
            evidence=f"between tenths of these steps the loss went up by {swings:.3g} in all and "
            f"came down again; its median is {typical:.3g}",
            cost=Cost("some of the mAP: steps that undo each other"),
            remedy="Lower the schedule's peak in the pipeline.config, or raise batch.global_batch",
        )
    ]


def _swings(levels: list[float]) -> float:
    """The rises, or what was lost of them again if that is less: a curve that only rises or only
    falls has none."""
    steps = [b - a for a, b in pairwise(levels)]
    first = next((i for i, step in enumerate(steps) if step > 0), len(steps))
    rises = sum(step for step in steps if step > 0)
    return min(rises, -sum(step for step in steps[first:] if step < 0))


def at_prior(facts: Facts) -> list[Finding]:
    """The classification loss is where the untrained network had it.

    That network gives every anchor the same probability, its prior (pi = 0.01 with focal loss: Lin
    et al., arXiv 1708.02002, 4.1). A run whose boxes learn and whose classes do not is seen here.
    """
    rows = facts.after_warmup
    if len(rows) < ENOUGH or facts.trained_before:
        return []
    found = []
    for name in _classification(facts):
        values = [row["losses"][name] for row in facts.rows if name in (row.get("losses") or {})]
        untrained = median(values[:START])
        newest = chunks(values, WINDOWS)[-1]
        if newest >= PRIOR * untrained:
            found.append(
                Finding(
                    name="classification-at-prior",
                    severity=Severity.WARNING,
                    place=span(rows),
                    evidence=f"{name} is {newest:.3g} after {facts.images(rows[-1]['step']):,} "
                    f"images; the untrained network had {untrained:.3g}",
                    cost=NOTHING_LEARNED,
                    remedy="Look at labels and boxes as the model gets them (`launcher data view`),"
                    " and at the rate (`launcher check`)",
                )
            )
    return found


def _classification(facts: Facts) -> list[str]:
    names = facts.rows[-1].get("losses") or {}
    return sorted(n for n in names if "classification" in n.lower() or n.endswith("object_center"))
