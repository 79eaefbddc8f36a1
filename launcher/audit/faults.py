"""Every fault of a data set by itself: file, record, source id, what, and whether `clean` mends it.

`launcher check` sums these up; here each has a line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.preflight import copies
from launcher.preflight.boxes import flat
from launcher.preflight.finding import Severity
from launcher.preflight.images import MODES, other_sizes, turned
from launcher.preflight.reading import DataRead, Split
from launcher.records import record_place
from launcher.records.exif import TURNED

FILE = "file"
"""The kind of a fault of a whole file, whose record and offset are 0."""


@dataclass(frozen=True)
class Entry:
    """`kind`: file, frame, record, image, source_id, boxes, labels, size, turned, colours,
    duplicate or leak."""

    split: str
    severity: Severity
    kind: str
    path: Path
    record: int
    offset: int
    source_id: str
    what: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.split,
            "severity": str(self.severity),
            "kind": self.kind,
            "file": str(self.path),
            "record": self.record,
            "offset": self.offset,
            "source_id": self.source_id,
            "what": self.what,
            "remedy": self.remedy,
        }

    def __str__(self) -> str:
        is_file = self.kind == FILE
        place = str(self.path) if is_file else record_place(self.path, self.record, self.offset)
        named = f", source id {self.source_id}" if self.source_id else ""
        return f"{self.severity} {place}{named}: {self.what}. {self.remedy}"


def entries(read: DataRead) -> list[Entry]:
    """Set after set, in the order of files and records."""
    found = [
        *(one for split in read.splits for one in _of_split(split)),
        *([] if copies.share_files(read) else _leaks(read)),
    ]
    order = {split.name: i for i, split in enumerate(read.splits)}
    return sorted(found, key=lambda e: (order[e.split], e.path, e.record))


def _of_split(split: Split) -> Iterator[Entry]:
    yield from _files(split)
    for fault in split.contents.faults:
        yield Entry(
            split.name, Severity.ERROR, fault.kind, fault.path, fault.number, fault.offset,
            fault.source_id, fault.what, fault.remedy,
        )  # fmt: skip
    yield from _odd(split)
    yield from _repeated(split)


def _files(split: Split) -> Iterator[Entry]:
    """Those that `submit` refuses whole: empty ones, and what cannot be opened."""
    whole = (split.name, Severity.ERROR, FILE)
    for file in split.files:
        if file.file_bytes == 0:
            remedy = "Copy or convert it again, or leave the file out"
            yield Entry(*whole, file.path, 0, 0, "", "an empty shard", remedy)
    for error in split.missing:
        problem = error.problems[0]
        yield Entry(*whole, Path(problem.place), 0, 0, "", problem.what, problem.remedy)


def _odd(split: Split) -> Iterator[Entry]:
    """What is trained on without a word, and seldom meant."""
    c = split.contents
    for i in sorted(set(c.owner[flat(c)].tolist())):
        what = "a box without an area (width or height 0)"
        yield _entry(split, i, "boxes", what, "`launcher data clean` leaves it out")
    for i in other_sizes(c).tolist():
        what = (
            f"says {c.said_width[i]} x {c.said_height[i]}, the picture is "
            f"{c.width[i]} x {c.height[i]}"
        )
        yield _entry(split, i, "size", what, "Are its boxes where the objects are?")
    for i in turned(c).tolist():
        what = f"is shown {TURNED[int(c.orientation[i])]} (an EXIF mark, which training ignores)"
        yield _entry(split, i, "turned", what, "Are its boxes where the objects are?")
    for i, kind in enumerate(c.kind):
        for word, (what, _) in MODES.items():
            if word in kind:
                yield _entry(split, i, "colours", f"{kind}: {what}", "Save it as RGB")


def _repeated(split: Split) -> Iterator[Entry]:
    severity = Severity.ERROR if split.name == "val" else Severity.WARNING
    for first, again in copies.repeated_records(split):
        index, number = copies.where(split, again)
        file = split.files[index]
        yield Entry(
            split.name, severity, "duplicate", file.path, number, int(file.offsets[number]), "",
            f"the same bytes as {copies.place(split, first)}", "Keep one of them",
        )  # fmt: skip
    for first, again in copies.repeated_ids(split):
        place = split.contents.place(first, split.files)
        what = f"the source id of {place.rpartition(', source id')[0]}"
        yield _entry(split, again, "source_id", what, "Give each an id of its own", severity)


def _leaks(read: DataRead) -> Iterator[Entry]:
    """Val images that are train images too."""
    val = read.val
    remedy = "Take it out of one of the two sets"
    told = set()
    for record in copies.records_in_both(read).tolist():
        index, number = copies.where(val, record)
        file = val.files[index]
        told.add((index, number))
        yield Entry(
            "val", Severity.ERROR, "leak", file.path, number, int(file.offsets[number]), "",
            "is a train record too, byte by byte", remedy,
        )  # fmt: skip
    c = val.contents
    for i in copies.pictures_in_both(read).tolist():
        if (int(c.file[i]), int(c.number[i])) not in told:
            what = "its picture is in a train record too"
            yield _entry(val, i, "leak", what, remedy, Severity.ERROR)


def _entry(
    split: Split,
    entry: int,
    kind: str,
    what: str,
    remedy: str,
    severity: Severity = Severity.WARNING,
) -> Entry:
    c = split.contents
    file, number = split.files[int(c.file[entry])], int(c.number[entry])
    offset = int(file.offsets[number])
    return Entry(
        split.name, severity, kind, file.path, number, offset, c.source[entry], what, remedy
    )
