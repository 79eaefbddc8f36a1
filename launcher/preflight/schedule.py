"""schedule: warm-up, boundaries and end of a learning rate schedule against the training's length.

What cannot be scaled at all is refused by planning (launcher/planning/schedule.py); the same rules
are asked here of a file whose own numbers are not used.
"""

from collections.abc import Iterator

from launcher.errors import SpecError
from launcher.odapi.protos import Message
from launcher.planning.schedule import facts_of, optimizer_name, total_steps
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "schedule"


def check(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if file is None:
        return
    mended = subject.source.follows_recipe
    severity = subject.mended if mended else Severity.WARNING
    if subject.own is None:
        yield from _unsound(subject, file.train_config, severity)
    else:
        yield from _late(subject, file.train_config, severity)


def _unsound(subject: Subject, config: Message, severity: Severity) -> Iterator[Finding]:
    place = subject.place_in_file("train_config", "optimizer")
    try:
        facts_of(config, place)
    except SpecError as e:
        for problem in e.problems:
            yield Finding(
                name=NAME,
                severity=severity,
                place=place,
                evidence=problem.what,
                cost=Cost("the OD API stops at it, or trains on another rate than is meant", 0.5),
                remedy=_remedy(subject, problem.remedy),
                edits=(f"batch.global_batch={subject.run.batch}",),
            )


def _late(subject: Subject, config: Message, severity: Severity) -> Iterator[Finding]:
    """What comes when the training is over, or nearly."""
    steps, own = total_steps(config), subject.own
    assert own is not None  # noqa: S101
    edits = (f"batch.global_batch={subject.run.batch}",) if subject.source.follows_recipe else ()
    if own.warmup_steps * 2 > steps:
        never = own.warmup_steps >= steps
        why = "the peak rate is never reached" if never else "most of it is a warm-up"
        yield Finding(
            name=NAME,
            severity=severity,
            place=subject.place_in_file("train_config", _WARMUPS.get(own.schedule, "schedule")),
            evidence=f"the warm-up takes {own.warmup_steps:,} of {steps:,} steps",
            cost=Cost(f"no mAP is known: {why}", 0.3),
            remedy=_remedy(subject, "Fewer warm-up steps: a recipe has 1 to 10 % of its steps"),
            edits=edits,
        )
    for what, lost, remedy in _odd_decay(config, steps):
        yield Finding(
            name=NAME,
            severity=severity,
            place=subject.place_in_file("train_config", what.partition(" ")[0]),
            evidence=what,
            cost=lost,
            remedy=_remedy(subject, remedy),
            edits=edits,
        )
    late = [change for change in _boundaries(config) if change >= steps]
    if late:
        yield Finding(
            name=NAME,
            severity=severity,
            place=subject.place_in_file("train_config", "schedule"),
            evidence=f"the rate changes at step {late[0]:,}, the training ends at {steps:,}",
            cost=Cost("no mAP is known: the lower rates at the end are never applied", 0.2),
            remedy=_remedy(subject, f"A step below {steps:,}, or a larger num_steps"),
            edits=edits,
        )


_WARMUPS = {"cosine_decay": "warmup_steps", "exponential_decay": "burnin_steps"}


def _odd_decay(config: Message, steps: int) -> Iterator[tuple[str, Cost, str]]:
    """What is wrong with an exponential decay, which the OD API takes as it is: evidence, that
    begins with the field, cost and remedy."""
    learning_rate = getattr(config.optimizer, optimizer_name(config)).learning_rate
    if learning_rate.WhichOneof("learning_rate") != "exponential_decay_learning_rate":
        return
    decay = learning_rate.exponential_decay_learning_rate
    peak, factor = decay.initial_learning_rate, decay.decay_factor
    if decay.burnin_steps and decay.burnin_learning_rate > peak:
        yield (
            f"burnin_learning_rate {decay.burnin_learning_rate:g} is above "
            f"initial_learning_rate {peak:g}, for {decay.burnin_steps:,} steps",
            Cost("no mAP is known: the training begins at its highest rate; it may diverge", 0.3),
            "Start the burn-in below initial_learning_rate",
        )
    if factor > 1:
        yield (
            f"decay_factor {factor:g} is above 1: the rate grows",
            Cost("no mAP is known: the weights end at the highest rate, or as NaN", 0.5),
            "A decay_factor below 1: the default is 0.95",
        )
    first = decay.burnin_steps + decay.decay_steps
    if first >= steps and factor < 1:
        times = max(0, steps - decay.burnin_steps) / decay.decay_steps
        left = 1.0 if decay.staircase else factor**times
        yield (
            f"decay_steps {decay.decay_steps:,}: the first decay ends at step {first:,}, the "
            f"training at {steps:,}, with {left:.0%} of its peak rate",
            Cost("no mAP is known: the lower rates at the end are never applied", 0.2),
            f"Far fewer than {steps:,} decay_steps, or a larger num_steps",
        )
    elif decay.min_learning_rate >= peak:
        yield (
            f"min_learning_rate {decay.min_learning_rate:g} is not below "
            f"initial_learning_rate {peak:g}",
            Cost("no mAP is known: the rate never falls", 0.2),
            "A min_learning_rate below what the decay comes to",
        )


def _boundaries(config: Message) -> list[int]:
    learning_rate = getattr(config.optimizer, optimizer_name(config)).learning_rate
    if learning_rate.WhichOneof("learning_rate") != "manual_step_learning_rate":
        return []
    return [int(change.step) for change in learning_rate.manual_step_learning_rate.schedule]


def _remedy(subject: Subject, own: str) -> str:
    if subject.source.follows_recipe:
        without = own[:1].lower() + own[1:]
        return f"Nothing: this run has {subject.recipe}'s schedule. Without launcher: {without}"
    return own
