"""global-batch: images in one optimizer step against the recipe's, and what mends it."""

from collections.abc import Iterator
from fractions import Fraction

from launcher.planning.arithmetic import NotWholeError, scale_of, split
from launcher.preflight.evidence import BATCH_LOST, PUBLISHED_SMALL_BATCHES
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "global-batch"

FAILED = Fraction(1, 8)
"""EfficientDet-D0 at batch 16 of 128 reached 2.7 of 33.6 mAP."""
REACHED = Fraction(1, 4)
"""D1 at batch 40 of 128 reached 39.4 (38.4 is published), D0 at 88 its 33.6, both by an independent
port with synchronised batch norm."""
LINEAR_RULE_HOLDS = 32
"""From 256 to 8,192 images a step the linear rule kept the accuracy (arXiv 1706.02677)."""


def check(subject: Subject) -> Iterator[Finding]:
    reference = subject.reference
    if reference is None:
        return
    if subject.run.batch != reference.batch:
        yield from _of_run(subject)
    elif subject.own and subject.own.batch != reference.batch:
        yield _of_file(subject)


def _of_file(subject: Subject) -> Finding:
    """The OD API takes batch_size for the global batch; the run accumulates up to the recipe's."""
    assert subject.own is not None and subject.reference is not None  # noqa: S101, PT018
    plan, own, wanted = subject.plan, subject.own.batch, subject.reference.batch
    return Finding(
        name=NAME,
        severity=subject.mended,
        place=subject.place_in_file("train_config", "batch_size"),
        evidence=f"your file's batch is {own:,}, {subject.recipe}'s is {wanted:,}",
        cost=_cost(scale_of(own, wanted)),
        remedy=(
            f"Nothing: this run accumulates {plan.replicas:,} x {plan.per_replica_batch:,} x "
            f"{plan.accumulation_steps:,} = {wanted:,} images a step"
        ),
        edits=(f"batch.global_batch={wanted}",),
    )


def _of_run(subject: Subject) -> Iterator[Finding]:
    assert subject.reference is not None  # noqa: S101
    plan, wanted = subject.plan, subject.reference.batch
    scale = scale_of(subject.run.batch, wanted)
    severity = _severity(subject, scale)
    if severity is None:
        return
    edits, how = _way_back(subject)
    yield Finding(
        name=NAME,
        severity=severity,
        place=subject.place_of_run("batch.global_batch", "train_config", "batch_size"),
        evidence=(
            f"{plan.replicas:,} x {plan.per_replica_batch:,} x {plan.accumulation_steps:,} = "
            f"{subject.run.batch:,} images a step, {subject.recipe} has {wanted:,}"
        ),
        cost=_cost(scale),
        remedy=how,
        edits=edits,
    )


def _severity(subject: Subject, scale: Fraction) -> Severity | None:
    if scale <= FAILED:
        return subject.wasted
    if scale <= REACHED or scale > LINEAR_RULE_HOLDS:
        return Severity.WARNING
    return Severity.INFO


def _cost(scale: Fraction) -> Cost:
    if scale <= FAILED:
        return Cost(PUBLISHED_SMALL_BATCHES, BATCH_LOST)
    if scale > LINEAR_RULE_HOLDS:
        return Cost("the linear rule was shown up to 32x only (arXiv 1706.02677)", 0.5)
    if scale <= REACHED:
        return Cost("no figure is known; 40 of 128 images still reached D1's mAP", 0.1)
    return Cost("none that is known: 40 of 128 images reached D1's mAP, 88 D0's", 0.0)


def _way_back(subject: Subject) -> tuple[tuple[str, ...], str]:
    """To the recipe's batch on these devices, as edits and in words."""
    assert subject.reference is not None  # noqa: S101
    plan, wanted = subject.plan, subject.reference.batch
    # A file that keeps its own numbers has its own reference: the recipe's comes with the rule.
    linear = () if subject.source.follows_recipe else ("batch.lr_scaling=linear",)
    try:
        found = split(wanted, plan.replicas, plan.per_replica_batch)
    except NotWholeError:
        words = "Choose devices and batch.per_replica_batch whose product divides "
        return linear, f"{words}{wanted:,}, and batch.global_batch: {wanted}"
    edits = (f"batch.global_batch={wanted}", *linear)
    words = " and ".join(edit.replace("=", ": ") for edit in edits)
    return edits, f"{words} ({found.accumulation_steps:,} accumulation steps)"
