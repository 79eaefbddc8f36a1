"""Is it the update that was planned? The rate that was applied, and what clipping leaves of it."""

from statistics import median

from launcher.health.facts import ENOUGH, Facts, column, span
from launcher.preflight.finding import Cost, Finding, Severity

APART = 1e-3
"""Of the peak. float32 against the plan's double differs by 1e-7."""
CLIPPED = 0.95
"""Share of steps: a threshold that is there for accidents clips few."""


def unlike_plan(facts: Facts) -> list[Finding]:
    """The worker itself stops at such a step; this finds files that were changed afterwards, or
    rows of another program."""
    rows = [row for row in facts.rows if isinstance(row.get("learning_rate"), float)]
    if facts.rate is None or not rows:
        return []
    peak = max(facts.rate(row["step"]) for row in rows)
    apart, row = max(
        ((abs(row["learning_rate"] - facts.rate(row["step"])), row) for row in rows),
        key=lambda pair: pair[0],
    )
    if peak <= 0 or apart <= APART * peak:
        return []
    planned, applied = facts.rate(row["step"]), row["learning_rate"]
    return [
        Finding(
            name="rate-unlike-plan",
            severity=Severity.ERROR,
            place=span([row, row]),
            evidence=f"the step applied the rate {applied:.4g}, pipeline.config plans "
            f"{planned:.4g}",
            cost=Cost("this is not the run that was planned", 0.5),
            remedy="Submit it anew; nothing else may write into a run's folder",
        )
    ]


def nothing_left(facts: Facts) -> list[Finding]:
    """Steps at the rate 0 before the end: they change nothing."""
    rows = [row for row in facts.rows if row["step"] < facts.total_steps]
    idle = [row for row in rows if row.get("learning_rate") == 0]
    if len(idle) < 2 or idle[-1] is not rows[-1]:
        return []
    left = (facts.total_steps - idle[0]["step"]) / max(1, facts.total_steps)
    return [
        Finding(
            name="rate-zero",
            severity=Severity.WARNING,
            place=span(idle),
            evidence=f"the rate is 0 since step {idle[0]['step']:,} of {facts.total_steps:,}",
            cost=Cost(f"{left:.0%} of the time is spent on steps that change nothing"),
            remedy="Set the schedule's total_steps to train_config.num_steps, or cancel the run",
        )
    ]


def always_clipped(facts: Facts) -> list[Finding]:
    """A gradient that is always clipped makes steps of one length, whatever the loss says.

    Not for Adam and RMSProp, which divide that length out again.
    """
    rows = facts.after_warmup
    norms = column(rows, "gradient_norm")
    if facts.clip_norm <= 0 or facts.adaptive or len(norms) < ENOUGH:
        return []
    newest = norms[-max(ENOUGH, len(norms) // 5) :]
    share = sum(norm > facts.clip_norm for norm in newest) / len(newest)
    if share < CLIPPED:
        return []
    typical = median(newest)
    return [
        Finding(
            name="gradient-always-clipped",
            severity=Severity.WARNING,
            place=span(rows[-len(newest) :]),
            evidence=f"the gradient's norm is {typical:.3g}, gradient_clipping_by_norm is "
            f"{facts.clip_norm:g}: {share:.0%} of these steps are clipped",
            cost=Cost(
                f"steps are {typical / facts.clip_norm:.1f} times shorter than the rate says"
            ),
            remedy="Lower the rate, or raise gradient_clipping_by_norm in the pipeline.config",
        )
    ]
