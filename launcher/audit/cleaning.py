"""`launcher data clean`: a copy of both sets without their faults, and what was dropped from it.

What cannot be used at all is left out: damaged records, images that cannot be decoded, records
without a source id or with another one's, copies of a record, and train records whose picture is in
val. Boxes and labels that training would stop at are mended (pixels become parts, a corner that
sticks out is cut) or dropped. All other records are copied byte by byte. What may be meant, such as
images without objects, crowds and transparency, stays.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from launcher.audit.mending import mend
from launcher.audit.start import refuse
from launcher.data.folder import CLEAN_REPORT, LABEL_MAP, complete_folder
from launcher.data.progress import Progress
from launcher.errors import DataError
from launcher.planning import Plan
from launcher.preflight import copies
from launcher.preflight.boxes import flat
from launcher.preflight.images import other_sizes
from launcher.preflight.reading import QUIET_SECONDS, DataRead, Split
from launcher.records import Example, RecordWriter, examine, record_place, shard_name
from launcher.records.framing import read_record
from launcher.storage import write_json

_UNUSABLE = ("frame", "record", "image", "source_id")
_MENDED = ("boxes", "labels")


@dataclass(frozen=True)
class Dropped:
    """A record, or an object of one, that the copy has not; or something that was set right."""

    split: str
    action: str
    """record (left out), object (left out) or mended."""
    place: str
    source_id: str
    what: str


@dataclass
class CleanReport:
    folder: Path
    train: str
    val: str
    label_map: str
    images: dict[str, int] = field(default_factory=dict)
    """Written, by set."""
    read: dict[str, int] = field(default_factory=dict)
    """Records that could be told apart in the original, damaged ones included."""
    dropped: list[Dropped] = field(default_factory=list)

    def count(self, split: str, action: str) -> int:
        return sum(one.split == split and one.action == action for one in self.dropped)

    def to_json(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "train": self.train,
            "val": self.val,
            "label_map": self.label_map,
            "read": self.read,
            "images": self.images,
            "counts": dict(Counter(f"{d.split} {d.action}" for d in self.dropped)),
            "dropped": [vars(one) for one in self.dropped],
        }


@dataclass(frozen=True)
class _Orders:
    """What to do with the records of a set, by (file, number); all others are copied."""

    leave_out: dict[tuple[int, int], tuple[str, str]]
    """To (source id, reason)."""
    mend: dict[tuple[int, int], tuple[int, int]]
    """To the picture's (width, height)."""


def clean(plan: Plan, read: DataRead, out: Path, *, force: bool = False) -> CleanReport:
    """Writes train and val records, the label map and `clean.json` to the new folder `out`.

    `read` has to be of all records. Raises SpecError when a file of them cannot be opened here: the
    copy would be without it; DataError when a set would have no record, or a file has changed since
    it was read; UsageError when `out` has a file that is read; StorageError when it cannot be
    written.
    """
    refuse([error for split in read.splits for error in split.missing])
    report = CleanReport(out, "", "", str(out / LABEL_MAP))
    orders = [_orders(read, split) for split in read.splits]
    total = sum(len(file.offsets) for split in read.splits for file in split.files)
    inputs = [file.path for split in read.splits for file in split.files]
    if plan.data.label_map:
        inputs.append(Path(plan.data.label_map))
    with complete_folder(out, force=force, inputs=inputs) as folder:
        progress = Progress("copying records", total, "records", quiet_seconds=QUIET_SECONDS)
        with progress:
            for split, order in zip(read.splits, orders, strict=True):
                if split.files:
                    pattern = _write_split(folder, read, split, order, report, progress)
                    setattr(report, split.name, str(out / pattern))
        shutil.copyfile(plan.data.label_map, folder / LABEL_MAP)
        write_json(folder / CLEAN_REPORT, report.to_json())
    return report


def _orders(read: DataRead, split: Split) -> _Orders:
    c = split.contents
    files = {file.path: index for index, file in enumerate(split.files)}
    entries = {(int(f), int(n)): i for i, (f, n) in enumerate(zip(c.file, c.number, strict=True))}
    out: dict[tuple[int, int], tuple[str, str]] = {}
    to_mend: dict[tuple[int, int], tuple[int, int]] = {}
    for fault in c.faults:
        key = (files[fault.path], fault.number)
        if fault.kind in _UNUSABLE:
            out.setdefault(key, (fault.source_id, fault.what))
        else:
            i = entries[key]
            to_mend[key] = (int(c.width[i]), int(c.height[i]))
    for i in {*c.owner[flat(c)].tolist(), *other_sizes(c).tolist()}:
        to_mend[int(c.file[i]), int(c.number[i])] = (int(c.width[i]), int(c.height[i]))
    for first, again in copies.repeated_records(split):
        same = f"the same bytes as {copies.place(split, first)}"
        out.setdefault(copies.where(split, again), ("", same))
    for first, i in copies.repeated_ids(split):
        place = c.place(first, split.files).rpartition(", source id")[0]
        reason = (c.source[i], f"the source id of {place}")
        if split.name == "val":  # training does not tell images apart
            out.setdefault((int(c.file[i]), int(c.number[i])), reason)
    if split.name == "train" and not copies.share_files(read):
        pictures = np.isin(c.picture, np.unique(read.val.contents.picture))
        for i in np.flatnonzero(pictures).tolist():
            key = (int(c.file[i]), int(c.number[i]))
            out.setdefault(key, (c.source[i], "its picture is in a val record too"))
    return _Orders(out, {k: v for k, v in to_mend.items() if k not in out})


def _write_split(
    folder: Path, read: DataRead, split: Split, orders: _Orders, report: CleanReport,
    progress: Progress,
) -> str:  # fmt: skip
    """The pattern of the files that were written. A file of which nothing is left is none."""
    left = [
        index
        for index, file in enumerate(split.files)
        if any((index, n) not in orders.leave_out for n in range(len(file.offsets)))
    ]
    if not left:
        raise DataError(
            f"nothing of the {split.name} records can be used",
            place=", ".join(split.patterns),
            remedy="`launcher data audit` tells what is wrong with each",
        )
    for (index, number), (source, what) in sorted(orders.leave_out.items()):
        place = _place(split, index, number)
        report.dropped.append(Dropped(split.name, "record", place, source, what))
    report.read[split.name] = sum(len(file.offsets) for file in split.files)
    report.images[split.name] = 0
    for shard, index in enumerate(left):
        path = folder / shard_name(split.name, shard, len(left))
        with RecordWriter(path) as writer:
            for data in _records(read, split, index, orders, report):
                writer.write(data)
                progress.advance(1)
        report.images[split.name] += writer.count
    return shard_name(split.name, 0, len(left)).replace("-00000-of-", "-?????-of-")


def _records(
    read: DataRead, split: Split, index: int, orders: _Orders, report: CleanReport
) -> Iterator[bytes]:
    file = split.files[index]
    for number in range(len(file.offsets)):
        key = (index, number)
        if key in orders.leave_out:
            continue
        data = read_record(file.path, number, int(file.offsets[number]), int(file.sizes[number]))
        if key in orders.mend:
            data = _mended(data, orders.mend[key], read, split, key, report)
        yield data


def _mended(
    data: bytes, size: tuple[int, int], read: DataRead, split: Split, key: tuple[int, int],
    report: CleanReport,
) -> bytes:  # fmt: skip
    example = Example.FromString(data)
    source = example.features.feature["image/source_id"].bytes_list.value[0]
    place, source_id = _place(split, *key), source.decode(errors="replace")
    for change in mend(example, read.labels, size):
        action = "object" if change.dropped else "mended"
        report.dropped.append(Dropped(split.name, action, place, source_id, change.what))
    made: bytes = example.SerializeToString(deterministic=True)
    if damage := examine(made, read.labels.num_classes, read.labels.texts):
        raise AssertionError(f"{place} is not mended: {damage.what}")
    return made


def _place(split: Split, index: int, number: int) -> str:
    file = split.files[index]
    return record_place(file.path, number, int(file.offsets[number]))
