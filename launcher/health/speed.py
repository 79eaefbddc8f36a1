"""Does it wait? For its input, or for one of its workers."""

from statistics import median

from launcher.health.facts import Facts, column, span
from launcher.preflight.finding import Cost, Finding, Severity

WAITS = 0.2
"""Share of a step in which the input is waited for."""
NEWEST = 20
"""Rows, each of which is a mean over about 20 steps already."""
SLOW = 1.5
"""Times the median of the other workers. Two equal ones on one core differed by up to 1.29."""


def input_bound(facts: Facts) -> list[Finding]:
    rows = [row for row in facts.rows if isinstance(row.get("input_share"), float)][-NEWEST:]
    shares = column(rows, "input_share")
    if len(shares) < NEWEST or median(shares) <= WAITS:
        return []
    share = median(shares)
    speed = median(column(rows, "images_per_second") or [0.0])
    return [
        Finding(
            name="input-bound",
            severity=Severity.WARNING,
            place=span(rows),
            evidence=f"worker 0 waits for its images in {share:.0%} of a step "
            f"({speed:,.1f} images/s)",
            cost=Cost(f"up to {share:.0%} of the time; no mAP"),
            remedy="More cores a worker (cluster.cpus_per_worker), smaller images in the records, "
            "or a faster disk; `launcher logs NAME` names a read that hangs",
        )
    ]


def slow_worker(facts: Facts) -> list[Finding]:
    """All workers step together, so the slowest gives the pace. Each tells how long it takes until
    its own gradients are ready; the rest of a step is waiting for others."""
    own = {b["worker"]: float(b["own_seconds"]) for b in facts.beats if b.get("own_seconds")}
    if len(own) < 2 or len(own) < len(facts.beats):
        return []
    slowest = max(own, key=lambda worker: own[worker])
    others = median(seconds for worker, seconds in own.items() if worker != slowest)
    if own[slowest] < SLOW * others:
        return []
    beat = next(b for b in facts.beats if b["worker"] == slowest)
    lost = 1 - others / own[slowest]
    waits = f", {beat['input_share']:.0%} of it for its input" if beat.get("input_share") else ""
    return [
        Finding(
            name="slow-worker",
            severity=Severity.WARNING,
            place=f"progress/worker-{slowest}.json",
            evidence=f"worker {slowest} needs {own[slowest]:.3g} s for its gradients{waits}, "
            f"the other workers {others:.3g} s",
            cost=Cost(f"up to {lost:.0%} of the time; no mAP"),
            remedy=f"Look for what else runs on the machine of worker {slowest}, for a throttled "
            "accelerator, or for a disk that is slower there",
        )
    ]
