"""A look at the records before anything is started: what a glance finds costs no GPU time.

Of every file the first records are decoded and its end is read; of val files all records are
counted. That is two seconds for the 150 files of COCO 2017, of whose 19 GB it reads a hundredth.
A fault in the middle of a file is found when it is trained on (exit 65, with file and record).
"""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from launcher import records
from launcher.errors import DataError
from launcher.odapi import label_map
from launcher.planning import Plan

_DECODED_IMAGES = 300
"""In all files together: a second on one core. At most _FIRST of each file, at least one."""
_FIRST = 3
_QUIET_SECONDS = 2.0
_ANY_CLASS = 2**31 - 1


def check_records(plan: Plan) -> None:
    """Raises DataError for the first file that cannot be trained or scored on.

    As many records as data.max_bad_records allows are only told.
    """
    train, val = records.expand(plan.data.train), records.expand(plan.data.val)
    files = list(dict.fromkeys([*train, *val]))
    if not files:
        return
    records.require_records(files)
    texts, num_classes = _labels(plan)
    first = max(1, min(_FIRST, _DECODED_IMAGES // len(files)))
    val_images, bad, allowed = 0, 0, plan.worker_config.max_bad_records
    for path in _with_progress(files):
        if allowed and path not in val:
            for one in _damages(path, num_classes, texts, first):
                bad += 1
                if bad > allowed:
                    raise one
                _warn(f"{one} (one of {allowed} that data.max_bad_records allows)")
        elif damage := records.locate_damage([path], num_classes, texts=texts, first=first):
            raise damage
        if path in val:
            val_images += records.count_records(path)
        elif not allowed:
            records.check_ending(path)
    _check_count(val_images, plan)


def _damages(
    path: Path, num_classes: int, texts: Mapping[str, int] | None, first: int
) -> Iterator[DataError]:
    """Of the first records and the last one, which a cut leaves incomplete."""
    from launcher.records.index import index_records  # numpy, which the others do without

    index = index_records([path], damaged=True)
    for number in sorted({*range(min(first, len(index))), len(index) - 1}):
        if damage := index.damage(number, num_classes, texts):
            yield damage


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)  # noqa: T201


def _labels(plan: Plan) -> tuple[dict[str, int], int]:
    """The ids of the label map's texts, and the number of classes."""
    texts = label_map.read_texts(Path(plan.data.label_map))
    return texts, plan.data.num_classes or max(texts.values(), default=_ANY_CLASS)


def _with_progress(files: Sequence[Path]) -> Iterator[Path]:
    """The files one after the other; with a bar once it takes longer than a moment."""
    started = time.monotonic()
    for i, path in enumerate(files):
        if time.monotonic() - started > _QUIET_SECONDS:
            yield from _with_bar(files[i:])
            return
        yield path


def _with_bar(files: Sequence[Path]) -> Iterator[Path]:
    from launcher.data.progress import Progress

    with Progress("checking records", len(files), unit="files") as progress:
        for path in files:
            yield path
            progress.advance(1)


def _check_count(images: int, plan: Plan) -> None:
    """As the evaluator does, which would say it only after the training."""
    expected = plan.data.val_images
    if expected is None or images == expected:
        return
    raise DataError(
        f"{images:,} val images, {expected:,} were expected",
        place=", ".join(plan.data.val),
        remedy="Name all shards with a pattern in data.val, or correct data.val_images"
        + ("; data.dataset: custom, if it is not COCO 2017" if plan.data.is_coco else ""),
    )
