"""Does the mAP come? Against what healthy runs had by the same part of their schedule.

Only runs of this project are a source here. No curve of mAP over training was found published for
the models of the zoo (their pages and papers give the final number), so no other is expected.
"""

from dataclasses import dataclass

from launcher.health.facts import Facts
from launcher.preflight.finding import Cost, Finding, Severity

ZERO = 0.001
"""A tenth of a COCO point."""
BY = 0.5
"""Of the training: by then all of the runs below had more than half of their final mAP."""


@dataclass(frozen=True)
class Trajectory:
    """(part of all steps, part of the final mAP) of one run that ended well."""

    source: str
    points: tuple[tuple[float, float], ...]


TRAJECTORIES = (
    Trajectory(
        "make demo, 1,000 steps, seed 0", ((0.25, 0.711), (0.5, 0.934), (0.75, 0.981), (1.0, 1.0))
    ),
    Trajectory(
        "make demo, 500 steps, seed 0", ((0.25, 0.021), (0.5, 0.749), (0.75, 0.948), (1.0, 1.0))
    ),
    Trajectory(
        "make demo, 500 steps, seed 1", ((0.25, 0.009), (0.5, 0.578), (0.75, 0.962), (1.0, 1.0))
    ),
    Trajectory(
        "make demo, 500 steps, seed 2", ((0.25, 0.016), (0.5, 0.773), (0.75, 0.957), (1.0, 1.0))
    ),
)
"""configs/demo.yaml on 2 cores, its cosine schedule, read from metrics/eval.jsonl of each run."""


def lowest_at(part: float) -> float:
    """The least part of the final mAP that any of the runs had by then."""
    return min(
        max((share for at, share in t.points if at <= part), default=0.0) for t in TRAJECTORIES
    )


def flat_at_zero(facts: Facts) -> list[Finding]:
    """Every checkpoint so far has a mAP of zero, though more than half of the training is done."""
    scored = [row for row in facts.scores if isinstance(row["step"], int)]
    if not scored or not facts.total_steps:
        return []
    last = max(row["step"] for row in scored)
    part = last / facts.total_steps
    highest = max(float(row["mAP"]) for row in scored)
    if part < BY or highest > ZERO:
        return []
    return [
        Finding(
            name="map-at-zero",
            severity=Severity.WARNING,
            place=f"metrics/eval.jsonl: step {last:,}",
            evidence=f"the best mAP is {100 * highest:.2f} after {facts.images(last):,} images, "
            f"{part:.0%} of the training; runs that ended well had {lowest_at(part):.0%} of their "
            f"final mAP by then ({len(TRAJECTORIES)} runs of `make demo`)",
            cost=Cost("all of the mAP", 1.0),
            remedy="Cancel it. `launcher check` on the spec, then `launcher data view`: labels and "
            "boxes as the model gets them",
        )
    ]
