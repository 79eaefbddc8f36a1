"""data-count: as many images as expected, in files that all workers can share."""

from collections.abc import Iterator
from statistics import median

from launcher.preflight import data_cost, dataset, shards
from launcher.preflight.data_cost import many, percent
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.reading import DataRead, Split
from launcher.preflight.shards import Place

NAME = "data-count"
SERIOUS_SHARE = 0.1
"""Of the expected images too few (or too many) from which on it is an error."""
SLIGHT_SHARE = 0.02
"""Up to which it may be on purpose: 1,021 of COCO's 118,287 train images have no object, and
some converters leave them out."""
CUT_SHARE = 0.5
"""A file with less than this share of the records that all others have is probably cut."""
ALIKE = 1.2
"""Largest file / median, up to which files are meant to be alike."""
UNEVEN = 10
"""Largest file / median from which on it is worth a word."""
_SHOWN = 3


def judge(read: DataRead, place: Place, workers: int, *, coco: bool) -> Iterator[Finding]:
    """`coco`: what is expected are COCO 2017's counts, unless the spec has others."""
    for split in read.splits:
        yield from _expected(read, split, place, coco)
        yield from _empty(split)
        yield from _uneven(split, place)
    yield from _few_files(read.train, place, workers)


def _expected(read: DataRead, split: Split, place: Place, coco: bool) -> Iterator[Finding]:
    count, expected = split.count, split.expected
    if not split.is_known or not expected or count == expected:
        return
    if shards.explains_count(read, split):
        return
    share = count / expected
    severity = _severity(split, share)
    more = share > 1
    off = f"{percent(abs(1 - share))} {'more' if more else 'fewer'}"
    if severity is Severity.INFO:
        cost = Cost("hardly anything; an epoch is that much shorter")
    elif split.key == "data.val":
        cost = Cost("the evaluator refuses to score another number of images", 1.0)
    elif more:
        cost = Cost("an epoch is longer than planned; records may be there twice", 0.1)
    else:
        cost = data_cost.of_share(share)
    remedy, edits = _remedy(read, split, coco)
    yield Finding(
        NAME,
        severity,
        place(split.key),
        f"{count:,} {split.name} images in {many(len(split.files), 'file')}, {expected:,} "
        f"expected: {off}",
        cost,
        remedy,
        edits,
    )


def _remedy(read: DataRead, split: Split, coco: bool) -> tuple[str, tuple[str, ...]]:
    if not coco:
        return f"Name all files in {split.key}, or correct {split.key}_images", ()
    if read.labels.names and not dataset.is_coco(read.labels.names):
        return "data.dataset: custom: the label map is not COCO 2017's", (dataset.CUSTOM,)
    return (
        f"Name all files in {split.key}; data.dataset: custom, if it is not COCO 2017 or only a "
        "part of it",
        (),
    )


def _severity(split: Split, share: float) -> Severity:
    if split.key == "data.val" or abs(1 - share) >= SERIOUS_SHARE:
        return Severity.ERROR
    return Severity.INFO if 1 - SLIGHT_SHARE <= share < 1 else Severity.WARNING


def _empty(split: Split) -> Iterator[Finding]:
    empty = [file.path for file in split.files if file.file_bytes == 0]
    if not empty:
        return
    others = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
    yield Finding(
        NAME,
        Severity.ERROR,
        f"{empty[0]}",
        f"an empty shard: 0 of {split.count:,} {split.name} images{others}",
        Cost("the run does not start: a conversion or a copy did not end well", 1.0),
        "Copy or convert it again, with fewer shards than images, or leave the file out",
    )


def _uneven(split: Split, place: Place) -> Iterator[Finding]:
    counts = {file.path: file.count for file in split.files if file.file_bytes}
    if len(counts) < 3:
        return
    middle, largest = median(counts.values()), max(counts.values())
    cut = [path for path, count in counts.items() if count < CUT_SHARE * middle]
    if cut and largest <= ALIKE * middle and len(cut) <= max(1, len(counts) // 10):
        few = ", ".join(f"{path.name} {counts[path]:,}" for path in cut[:_SHOWN])
        yield Finding(
            NAME,
            Severity.WARNING,
            f"{cut[0]}",
            f"{few} images, where the other {split.name} files have {middle:,.0f}: cut short?",
            Cost("their other images are never seen", len(cut) / len(counts)),
            "Compare it with the original, or convert again",
        )
    elif largest >= UNEVEN * middle:
        yield Finding(
            NAME,
            Severity.INFO,
            place(split.key),
            f"files of {min(counts.values()):,} to {largest:,} images, {middle:,.0f} in the middle",
            Cost("nothing here, where workers share records; trainers that share files wait"),
            "Nothing",
        )


def _few_files(train: Split, place: Place, workers: int) -> Iterator[Finding]:
    if train.is_known and len(train.files) < workers:
        yield Finding(
            NAME,
            Severity.INFO,
            place("data.train"),
            f"{many(len(train.files), 'train file')} for {workers:,} workers",
            Cost("nothing here, where workers share records; the OD API's own loop fails"),
            "Nothing",
        )
