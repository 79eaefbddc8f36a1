"""learning-rate: the rate and its warm-up against the rule that carries the recipe's to a batch."""

from collections.abc import Iterator
from fractions import Fraction

from launcher.planning.departures import percent, rate_rule, times, warmup_share
from launcher.planning.schedule import Facts
from launcher.preflight.evidence import HIGH_RATE, HIGH_RATE_LOST, LOWEST_NAN, NAN
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "learning-rate"

_CLOSE = 1.1
"""A rate that is off by less is one's own choice: rules are no more exact than that."""
_WASTED_HIGH = 4.0
_WASTED_LOW = 1 / 8
_SHORT = Fraction(1, 2)
_LONG = 4

_OPTIMIZER = "train_config.optimizer"
_RATE = "learning_rate"


def check(subject: Subject) -> Iterator[Finding]:
    reference, own = subject.reference, subject.own
    if reference is None:
        return
    yield from _judged(subject, subject.run, reference, of_run=True)
    if own is not None and subject.source.follows_recipe:
        yield from _judged(subject, own, reference, of_run=False)


def _judged(subject: Subject, facts: Facts, reference: Facts, *, of_run: bool) -> Iterator[Finding]:
    if facts.optimizer != reference.optimizer:
        yield _optimizer(subject, facts, reference, of_run)
        return
    yield from _rate(subject, facts, reference, of_run)
    yield from _warmup(subject, facts, reference, of_run)


def _optimizer(subject: Subject, facts: Facts, reference: Facts, of_run: bool) -> Finding:
    return Finding(
        name=NAME,
        severity=Severity.WARNING if of_run else subject.mended,
        place=subject.place_in_file("train_config", "optimizer"),
        evidence=(
            f"the optimizer is {facts.optimizer}, {subject.recipe}'s is {reference.optimizer}: "
            f"its rate {reference.learning_rate:g} says nothing about {facts.learning_rate:g}"
        ),
        cost=Cost("no figure is known", 0.1),
        remedy=_remedy(subject, of_run, f"{reference.optimizer} at {reference.learning_rate:g}"),
        edits=_edits(subject, of_run),
    )


def _rate(subject: Subject, facts: Facts, reference: Facts, of_run: bool) -> Iterator[Finding]:
    rule = rate_rule(facts.batch, reference)
    off = rule.off(facts.learning_rate)
    if 1 / _CLOSE < off < _CLOSE:
        return
    wanted = rule.high if off > 1 else rule.low
    whose = "the linear rule's" if rule.low == rule.high else "what belongs to Adam there:"
    yield Finding(
        name=NAME,
        severity=_severity(subject, off) if of_run else subject.mended,
        place=_place(subject, of_run),
        evidence=(
            f"{facts.learning_rate:g} at batch {facts.batch:,} is {times(off)} {whose} {wanted:g} "
            f"({subject.recipe}: {reference.learning_rate:g} at {reference.batch:,})"
        ),
        cost=_cost(off),
        remedy=_remedy(subject, of_run, f"{wanted:g} for a batch of {facts.batch:,}"),
        edits=_edits(subject, of_run),
    )


def _severity(subject: Subject, off: float) -> Severity:
    return subject.wasted if off >= _WASTED_HIGH or off <= _WASTED_LOW else Severity.WARNING


def _cost(off: float) -> Cost:
    if off >= LOWEST_NAN:
        return Cost(NAN, 1.0)
    if off >= 2:
        return Cost(HIGH_RATE, HIGH_RATE_LOST)
    if off > 1:
        return Cost("no figure is known below 2x, where it is half and more", 0.1)
    return Cost(
        f"the weights go {percent(off)} of the recipe's way; no mAP is known for that",
        0.5 * (1 - off),
    )


_WARMUPS = {
    "cosine_decay": ("warmup_steps", "warmup_steps: {}"),
    "exponential_decay": ("burnin_steps", "burnin_steps: {}, below initial_learning_rate"),
    "manual_step": ("schedule", "warmup: true, and {} as the first step of schedule"),
    "constant": ("learning_rate", "cosine_decay_learning_rate with warmup_steps: {}"),
}
"""Of a schedule: the field that has its warm-up, and what to write."""


def _warmup(subject: Subject, facts: Facts, reference: Facts, of_run: bool) -> Iterator[Finding]:
    share = warmup_share(facts, reference)
    if share is None or _SHORT <= share <= _LONG:
        return
    has, wanted = facts.warmup_steps * facts.batch, reference.warmup_steps * reference.batch
    steps = -(-wanted // facts.batch)
    field, wanted_warmup = _WARMUPS[facts.schedule]
    yield Finding(
        name=NAME,
        severity=Severity.WARNING if of_run else subject.mended,
        place=subject.place_in_file("train_config", field),
        evidence=(
            f"the warm-up of {facts.warmup_steps:,} steps covers {has:,} images, "
            f"{subject.recipe}'s {wanted:,}: {percent(share)}"
        ),
        cost=_cost_of_warmup(share, has),
        remedy=_remedy(subject, of_run, wanted_warmup.format(steps)),
        edits=_edits(subject, of_run),
    )


def _cost_of_warmup(share: Fraction, images: int) -> Cost:
    if share > 1:
        return Cost("no mAP is known: the peak rate comes later and lasts shorter", 0.05)
    return Cost(
        f"no mAP is known: the peak rate comes after {images:,} images; it may diverge", 0.1
    )


def _place(subject: Subject, of_run: bool) -> str:
    if of_run and subject.spec.recipe is not None:
        return subject.place_in_spec("batch.lr_scaling")
    field = {"cosine_decay": "learning_rate_base", "constant": "learning_rate"}
    facts = subject.own or subject.run
    return subject.place_in_file("train_config", field.get(facts.schedule, "initial_learning_rate"))


def _remedy(subject: Subject, of_run: bool, wanted: str) -> str:
    if of_run:
        return f"batch.lr_scaling: linear ({wanted})"
    rate = f"{subject.run.learning_rate:g} at {subject.run.batch:,}"
    return f"Nothing: this run has the recipe's, {rate}. Without launcher: {wanted}"


def _edits(subject: Subject, of_run: bool) -> tuple[str, ...]:
    if of_run:
        return ("batch.lr_scaling=linear",)
    return (f"batch.global_batch={subject.run.batch}",)
