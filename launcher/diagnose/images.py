"""A few images of the train set, as a set of their own. Without TensorFlow."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from launcher.data.folder import LABEL_MAP, complete_folder
from launcher.errors import SpecError, UsageError
from launcher.planning import Plan, missing_data
from launcher.preflight.reading import SAMPLE, Split, read_data
from launcher.records import RecordWriter, shard_name
from launcher.records.framing import read_record

_NAME = shard_name("train", 0, 1)
_TIMES = 8
"""Records that are looked at for each image that is wanted, at least."""


def pick(plan: Plan, count: int) -> tuple[list[bytes], int]:
    """`count` train records, evenly from all files: each with an object that is no crowd, without a
    fault, with a source id of its own. And how many were seen with a fault.

    Raises SpecError when records or label map are missing, DataError when the label map is
    damaged, UsageError when there are not so many.
    """
    problems = [p for p in missing_data(plan.spec) if _is_needed(p.place)]
    if problems:
        raise SpecError(problems)
    train = _read(plan, max(SAMPLE, _TIMES * count), full=False)
    usable = _usable(train)
    if len(usable) < count and not train.is_whole:
        train = _read(plan, 0, full=True)
        usable = _usable(train)
    if len(usable) < count:
        raise UsageError(
            f"{count} images are asked for, {len(usable)} of the {train.count:,} train records can "
            "be taken: readable, with an object and a source id of their own",
            place=", ".join(train.patterns),
            remedy=(f"--images {len(usable)}, or mend the others: " if usable else "")
            + "`launcher data audit` says what is wrong with each",
        )
    chosen = [usable[i * len(usable) // count] for i in range(count)]
    faulty = {(fault.path, fault.number) for fault in train.contents.faults}
    return [_data(train, entry) for entry in chosen], len(faulty)


def paths(out: Path) -> tuple[str, str]:
    """Of the record file and the label map that `write` leaves in `out`."""
    return str(out / _NAME), str(out / LABEL_MAP)


def write(plan: Plan, records: list[bytes], out: Path) -> None:
    """Raises StorageError."""
    with complete_folder(out, force=True) as folder:
        with RecordWriter(folder / _NAME) as writer:
            for data in records:
                writer.write(data)
        shutil.copyfile(plan.data.label_map, folder / LABEL_MAP)


def _is_needed(place: str) -> bool:
    return any(field in place for field in ("data.train", "data.label_map"))


def _read(plan: Plan, sample: int, *, full: bool) -> Split:
    """The train set alone."""
    alone = plan.model_copy(update={"data": replace(plan.data, val=())})
    found = read_data(alone, sample=sample, full=full)
    if found.label_error:
        raise found.label_error
    if not found.train.files:
        raise found.train.missing[0]
    return found.train


def _usable(split: Split) -> list[int]:
    """The entries in the order of the files."""
    c = split.contents
    faulty = {(fault.path, fault.number) for fault in c.faults}
    real = np.bincount(c.owner[~c.crowd], minlength=len(c.objects))
    seen: set[str] = set()
    usable = []
    for entry in range(len(c.objects)):
        at = (split.files[int(c.file[entry])].path, int(c.number[entry]))
        source = c.source[entry]
        if real[entry] and source and source not in seen and at not in faulty:
            seen.add(source)
            usable.append(entry)
    return usable


def _data(split: Split, entry: int) -> bytes:
    c = split.contents
    file, number = split.files[int(c.file[entry])], int(c.number[entry])
    return read_record(file.path, number, int(file.offsets[number]), int(file.sizes[number]))
