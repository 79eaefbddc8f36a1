"""Does the mAP come? Against what healthy runs had by the same part of their schedule.

The zoo's pages and papers give a final mAP, and no curve of it over training. The sources here are
runs of this project, and what one user told of EfficientDet-D0's whole schedule on COCO.
"""

from dataclasses import dataclass

from launcher.health.facts import Facts
from launcher.preflight.finding import Cost, Finding, Severity

POINTS = 100
ZERO = 0.001
"""A tenth of a COCO point."""
LITTLE = 0.2
"""Of the target: a third of what the slowest of the runs below had of its final mAP by then."""
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
    Trajectory("EfficientDet-D0 on COCO, 300 epochs", ((0.41, 0.958), (0.70, 1.0))),
)
"""The first four: configs/demo.yaml on 2 cores, its cosine schedule, from metrics/eval.jsonl.

The last: rwightman/efficientdet-pytorch#73, 32.2 COCO points at about epoch 122 and 33.6 (which the
zoo has for D0) at about 210, the last that it tells, of the 300 that its train.py has by default.
Another implementation: batch 88, synchronised batch norm, cosine, the weights' moving average.
"""


def lowest_at(part: float) -> float:
    """The least part of the final mAP that any of the runs had by then, of those that tell it."""
    had = [[share for at, share in t.points if at <= part] for t in TRAJECTORIES]
    return min((max(shares) for shares in had if shares), default=0.0)


def behind(facts: Facts) -> list[Finding]:
    """More than half of the training is done, and no checkpoint has a mAP to speak of: none at
    all, or less than a fifth of the target's."""
    scored = [row for row in facts.scores if isinstance(row["step"], int)]
    if not scored or not facts.total_steps:
        return []
    last = max(row["step"] for row in scored)
    part = last / facts.total_steps
    highest = max(float(row["mAP"]) for row in scored)
    if part < BY or highest > max(ZERO, LITTLE * (facts.target_map or 0.0) / POINTS):
        return []
    best = f"{POINTS * highest:.2f}" if highest >= 0 else "-"  # -1: nothing can be scored
    target = f"of a target of {facts.target_map:g} " if facts.target_map else ""
    return [
        Finding(
            name="map-at-zero" if highest <= ZERO else "map-behind",
            severity=Severity.WARNING,
            place=f"metrics/eval.jsonl: step {last:,}",
            evidence=f"the best mAP is {best} {target}after "
            f"{facts.images(last):,} images, {part:.0%} of the training; runs that ended well had "
            f"{lowest_at(BY):.0%} of their final mAP by half of it ({len(TRAJECTORIES)} runs, "
            "docs/results.md)",
            cost=Cost("most of the mAP", 0.9),
            remedy="Do not wait for its end. `launcher check` on the spec, then "
            "`launcher data view`: labels and boxes as the model gets them",
        )
    ]
