"""Is it learning? What the curve of the loss says.

The thresholds were set on runs of this project on drawn shapes (docs/results.md has them), where
every run that reached its mAP is on one side: they tell a curve that goes nowhere, not a good one
from a very good one. All of them wait until the warm-up is over.
"""

from itertools import pairwise
from statistics import median

from launcher.health.facts import ENOUGH, Facts, chunks, learned_loss, span
from launcher.preflight.finding import Cost, Finding, Severity

WINDOWS = 10
NOT_FALLEN = 0.9
"""Of the loss at the beginning. Runs that learn were below 0.5 after a fifth of their steps."""
RISEN = 1.5
"""Times the lowest window. Runs that learn never rose above 1.1 times it."""
SWING = 0.5
"""Of the median: what the loss went up and came down again, in all. Runs that learn: below 0.02."""
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
            "that is 2 to 10 times lower tells whether the rate is at fault",
        )
    ]


def oscillating(facts: Facts) -> list[Finding]:
    """Up and down between windows, by more than noise: medians hide single steps."""
    rows = facts.after_warmup
    values = [v for row in rows if (v := learned_loss(row)) is not None]
    if len(values) < 2 * ENOUGH:
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
            remedy="Lower batch.learning_rate's peak, or use a larger global batch",
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
