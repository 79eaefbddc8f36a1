"""data-shards: are the files all of the set, and of one set only?"""

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from launcher.preflight import data_cost
from launcher.preflight.data_cost import many, percent
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import DataRead, Split
from launcher.preflight.shard_sets import ShardSet
from launcher.spec.overrides import setting

NAME = "data-shards"
SERIOUS_SHARE = 0.1
"""Of the set's files that are nowhere: a copy that was cut short, no lost file or two."""
HALF = 0.5
"""Whoever divides one set by shard number chose the shards: less than half of those that are left
for train is a mistake all the same."""
UNKNOWN = 0.5
"""What a wrong score counts beside a wrong training, in the order of findings."""
_SHOWN = 5

Place = Callable[[str], str]
"""A key of the spec as a message names it."""


def judge(read: DataRead, place: Place) -> Iterator[Finding]:
    for split, other in _each(read):
        yield from _missing(split, place)
        for one in split.sets:
            yield from _unnamed(split, one, other, place)
            yield from _absent(split, one, other, place)
        yield from _two_of_a_name(split, other, place)
    shared = list(_shared(read, place))
    yield from shared
    if not shared:
        for split in read.splits:
            yield from _two_in_a_pattern(split, place)


def explains_count(read: DataRead, split: Split) -> bool:
    """Whether a finding of this module tells why the count is not the expected one."""
    other = read.val if split is read.train else read.train
    partial = split.count < (split.expected or 0) and any(
        (one.is_certain and _left(split, one, other)) or (one.absent and not _told(one, other))
        for one in split.sets
    )
    return partial or bool(_same_name(split))


def _each(read: DataRead) -> tuple[tuple[Split, Split], ...]:
    """Each set and the other one."""
    return (read.train, read.val), (read.val, read.train)


def _partner(one: ShardSet, other: Split) -> ShardSet | None:
    """What the other set names of the same files: they are divided by shard number."""
    return next((its for its in other.sets if its.key == one.key), None)


def _told(one: ShardSet, other: Split) -> bool:
    """Whether what is wrong with files of both sets is said of train, once."""
    return other.key == "data.train" and _partner(one, other) is not None


def _left(split: Split, one: ShardSet, other: Split) -> int:
    """Shards that lie there and that neither set names, as far as this one should."""
    if _told(one, other):
        return 0
    partner = _partner(one, other)
    return len(one.beside - one.named - (partner.named if partner else frozenset()))


def _missing(split: Split, place: Place) -> Iterator[Finding]:
    for error in split.missing:
        problem = error.problems[0]
        yield Finding(
            NAME,
            Severity.ERROR,
            place(split.key),
            f"{problem.place} {problem.what}",
            Cost("the run cannot start", 1.0),
            problem.remedy,
        )


def _unnamed(split: Split, one: ShardSet, other: Split, place: Place) -> Iterator[Finding]:
    """Shards that lie beside the named ones, and are not the other set's."""
    left = _left(split, one, other)
    if not left or not one.is_certain:
        return
    partner = _partner(one, other)
    theirs = partner.named - one.named if partner else frozenset()
    size = one.size - len(theirs)
    part = f"{len(one.named):,} of {size:,} shards"
    if partner:
        part += f" that {other.name} does not name"
    if split.expected == split.count:
        yield Finding(
            NAME, Severity.INFO, place(split.key),
            f"{part} of {one.title} are named, with the {split.count:,} images that are expected",
            Cost("nothing, if a part is meant"),
            "Nothing",
        )  # fmt: skip
        return
    whole, about = _whole(split, one, partner)
    share = one.images / whole if whole else len(one.named) / size
    serious = bool(one.total) and (partner is None or share < HALF)
    severity = Severity.ERROR if serious else Severity.WARNING
    yield Finding(
        NAME,
        severity if share < 1 else Severity.INFO,  # the others are empty
        place(split.key),
        f"{part}, {one.images:,} of {about}{whole:,} images: {percent(share)}",
        _cost(split, share),
        f"Name the other {many(left, 'shard')} too, unless they are kept for a test"
        if partner
        else f"Name all of them: {one.pattern}",
        _edit(split, one, other) if len(split.sets) == 1 else (),
    )


def _edit(split: Split, one: ShardSet, other: Split) -> tuple[str, ...]:
    """The whole set for `split`, unless the other set has a file of it."""
    if any(fnmatchcase(str(file.path), one.pattern) for file in other.files):
        return ()
    return (setting(split.key, one.pattern),)


def _whole(split: Split, one: ShardSet, partner: ShardSet | None) -> tuple[int, str]:
    """Images of the whole set, without the other set's; "about " when they are inferred from the
    size of the files. The expected ones are not the whole where a part of the files has more."""
    if split.expected and len(split.sets) == 1 and split.expected > one.images:
        return split.expected, ""
    mine = one.beside_bytes - (partner.named_bytes if partner else 0)
    return round(one.images * max(mine, one.named_bytes) / max(1, one.named_bytes)), "about "


def _cost(split: Split, share: float) -> Cost:
    if split.key == "data.train":
        return data_cost.of_share(share)
    return Cost(
        f"the mAP is of {percent(share)} of the val images: not one to compare with others",
        UNKNOWN * (1 - share),
    )


def _absent(split: Split, one: ShardSet, other: Split, place: Place) -> Iterator[Finding]:
    """Numbers that the names promise, and that are nowhere."""
    absent = one.absent
    if not absent or _told(one, other) or split.expected == split.count:
        return
    share = absent / one.size
    serious = share >= SERIOUS_SHARE or split.key == "data.val"
    shown = ", ".join(f"{number:0{one.width}d}" for number in one.first_absent(_SHOWN))
    more = f" and {absent - _SHOWN:,} more" if absent > _SHOWN else ""
    are = "are" if absent > 1 else "is"
    yield Finding(
        NAME,
        Severity.ERROR if serious else Severity.WARNING,
        place(split.key),
        f"{absent:,} of {one.size:,} shards of {one.title} {are} not in {one.folder}: "
        f"{shown}{more}",
        _cost(split, 1 - share),
        "Copy or convert the missing files",
    )


def _same_name(split: Split) -> list[list[ShardSet]]:
    """Sets that differ in their number of files only."""
    found: dict[tuple[Path, str, str], list[ShardSet]] = {}
    for one in split.sets:
        if one.total:
            found.setdefault(one.name, []).append(one)
    return [sets for sets in found.values() if len(sets) > 1]


def _two_of_a_name(split: Split, other: Split, place: Place) -> Iterator[Finding]:
    for sets in _same_name(split):
        each = " and ".join(f"{len(one.named):,} of {one.size:,}" for one in sets)
        images = " + ".join(f"{one.images:,}" for one in sets)
        best = max(sets, key=lambda one: len(one.named) / one.size)
        only = len(split.sets) == len(sets)
        yield Finding(
            NAME,
            Severity.ERROR,
            place(split.key),
            f"{sets[0].folder / sets[0].stem} is {len(sets)} conversions: {each} shards, "
            f"{images} images",
            Cost("the same images twice, or with the labels of an older conversion", 0.5),
            f"Name one of them, as {best.pattern}, or remove the other",
            _edit(split, best, other) if only else (),
        )


def _two_in_a_pattern(split: Split, place: Place) -> Iterator[Finding]:
    """One pattern that matches sets of different names: most often train and val."""
    for pattern, paths in split.matches:
        inside = [one for one in split.sets if not one.paths.isdisjoint(paths)]
        if len({one.name for one in inside}) < 2:
            continue
        named = ", ".join(f"{one.title} ({many(len(one.named), 'file')})" for one in inside)
        yield Finding(
            NAME,
            Severity.WARNING,
            place(split.key),
            f"{pattern} matches {len(inside)} sets: {named}",
            Cost("images of another set are trained or scored on, if that is not meant", 0.2),
            "Write a pattern for each set that is meant",
        )


def _shared(read: DataRead, place: Place) -> Iterator[Finding]:
    """Files that are in both sets, also under two names."""
    train, val = dict(read.train.identities), dict(read.val.identities)
    shared = [path for identity, path in val.items() if identity in train]
    if not shared:
        return
    if len(shared) == len(train) == len(val):
        yield Finding(
            NAME,
            Severity.WARNING,
            place("data.val"),
            f"train and val are the same {many(len(val), 'file')}",
            Cost("the mAP is of images that were trained on: it proves memory, nothing else", 0.5),
            "Keep it only to overfit on purpose; else name other images",
        )
        return
    images = sum(f.count for f in read.val.files if f.path in set(shared))
    share = images / max(1, read.val.count)
    yield Finding(
        NAME,
        Severity.ERROR,
        place("data.val"),
        f"{len(shared):,} of {len(val):,} val files are train files too ({shared[0].name}): "
        f"{images:,} images, {percent(share)} of val",
        Cost("the mAP is too high by an unknown amount: these images were trained on", share),
        "Write patterns that have no file in common",
    )
