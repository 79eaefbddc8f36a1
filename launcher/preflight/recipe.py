"""recipe: what of the user's own file is trained as it is, and differs from the recipe's.

The plan replaces batch, rate and schedule. Augmentation, the optimizer's other numbers, clipping
and the order of the records stay the file's, and each of them belongs to the published mAP.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from google.protobuf import text_format

from launcher.odapi.protos import Message
from launcher.planning.schedule import optimizer_name
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "recipe"

_UNKNOWN = "no figure is known; the published mAP is that of the recipe's"
_PLAIN = ("gradient_clipping_by_norm", "add_regularization_loss")
_LOST = 0.1
"""Of one of them: a guess, to put it between what is measured."""


def check(subject: Subject) -> Iterator[Finding]:
    file, recipe = subject.file, subject.source.recipe
    if file is None:
        return
    yield from _order(subject, file)
    if recipe is not None:
        own, published = file.train_config, recipe.build().train_config
        yield from _augmentation(subject, own, published)
        yield from _optimizer(subject, own, published)
        yield from _numbers(subject, ("train_config",), own, published, _PLAIN)


def _order(subject: Subject, file: Message) -> Iterator[Finding]:
    if not file.train_input_reader.shuffle:
        yield Finding(
            name=NAME,
            severity=Severity.WARNING,
            place=subject.place_in_file("train_input_reader", "shuffle"),
            evidence="shuffle: false: each epoch has the records in the order of their files",
            cost=Cost("no figure is known; neighbours in a file come into the same batches", _LOST),
            remedy="Remove it: all records are shuffled, anew in each epoch",
        )


def _augmentation(subject: Subject, own: Message, published: Message) -> Iterator[Finding]:
    has, wanted = _options(own), _options(published)
    less, more = wanted - has, has - wanted
    if not less and not more:
        return
    names = {_name(option) for option in less} & {_name(option) for option in more}
    parts = [
        f"{verb} {', '.join(sorted(found))}"
        for verb, found in (
            ("without", {_name(o) for o in less} - names),
            ("with", {_name(o) for o in more} - names),
            ("other numbers in", names),
        )
        if found
    ]
    yield _finding(
        subject,
        ("train_config", "data_augmentation_options"),
        f"augmentation {'; '.join(parts)} ({subject.recipe}: {_named(wanted)})",
        "Write the recipe's data_augmentation_options",
    )


def _options(config: Message) -> Counter[str]:
    return Counter(
        text_format.MessageToString(option, as_one_line=True)
        for option in config.data_augmentation_options
    )


def _name(option: str) -> str:
    """`random_horizontal_flip` of `random_horizontal_flip { }`."""
    return option.split()[0]


def _named(options: Counter[str]) -> str:
    return ", ".join(_name(option) for option in options) or "none"


def _optimizer(subject: Subject, own: Message, published: Message) -> Iterator[Finding]:
    kind = optimizer_name(own)
    if kind != optimizer_name(published):
        return  # the whole optimizer is the recipe's then; rates.py tells it
    ours, theirs = getattr(own.optimizer, kind), getattr(published.optimizer, kind)
    fields = [f.name for f in ours.DESCRIPTOR.fields if f.name != "learning_rate"]
    yield from _numbers(subject, ("train_config", "optimizer"), ours, theirs, fields)


def _numbers(
    subject: Subject, path: tuple[str, ...], own: Message, published: Message, fields: Iterable[str]
) -> Iterator[Finding]:
    for field in fields:
        ours, theirs = getattr(own, field), getattr(published, field)
        if ours != theirs:
            yield _finding(
                subject,
                (path[0], field),
                f"{field} is {_shown(ours)}, {subject.recipe}'s is {_shown(theirs)}",
                f"{field}: {_shown(theirs)}",
            )


def _shown(value: float | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if value else "0 (off)"


def _finding(subject: Subject, place: tuple[str, str], evidence: str, remedy: str) -> Finding:
    """For other data than the recipe's these may well be one's own choice."""
    return Finding(
        name=NAME,
        severity=Severity.WARNING if subject.trains_from_scratch else Severity.INFO,
        place=subject.place_in_file(*place),
        evidence=evidence,
        cost=Cost(_UNKNOWN, _LOST),
        remedy=remedy,
    )
