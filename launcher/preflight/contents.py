"""What records hold, as columns: images and objects as numbers, faults as text.

One pass over a record's data: it is parsed once, its image is decoded whole, and what is kept of it
is some 60 bytes an image and 25 an object. numpy is imported with this module.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from launcher.errors import LauncherError
from launcher.records import values
from launcher.records.damage import BOX, LABEL, TEXT, Damage, examine_all, parse, source_id
from launcher.records.exif import orientation
from launcher.records.frames import Frames
from launcher.records.framing import read_record, record_place

UNKNOWN = 0
"""The label of an object whose text the label map lacks, or that has none."""

_CROWD = "image/object/is_crowd"
_HASH_BYTES = 8


@dataclass(frozen=True)
class Labels:
    """What a label is judged by. `texts` None: there is no label map that can be read."""

    names: Mapping[int, str] = field(default_factory=dict)
    texts: Mapping[str, int] | None = None
    num_classes: int = 2**31 - 1


@dataclass(frozen=True)
class Fault:
    """A record that cannot be trained on. `kind` as `records.Damage`, or "frame"."""

    kind: str
    path: Path
    number: int
    offset: int
    what: str
    remedy: str
    source_id: str = ""

    @property
    def place(self) -> str:
        named = f", source id {self.source_id}" if self.source_id else ""
        return record_place(self.path, self.number, self.offset) + named


@dataclass(frozen=True)
class Task:
    """Records of one file to look at; what a process of a pool is given."""

    file: int
    path: Path
    frames: tuple[tuple[int, int, int], ...]
    """Number, first byte and size of each."""
    labels: Labels


@dataclass
class Contents:
    """Columns, one entry a record that could be parsed; those of objects one an object.

    Sizes are in pixels: `width`, `height` of the picture itself (0: it cannot be decoded),
    `said_width`, `said_height` as the record says (0: it does not). `boxes` are [ymin, xmin,
    ymax, xmax] in parts of the image.
    """

    looked_at: int = 0
    file: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    number: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    width: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    height: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    said_width: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    said_height: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    orientation: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """By the picture's Exif mark, 1 to 8 (exif.py)."""
    objects: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    """How many an image has, crowds included."""
    picture: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """A hash of the encoded image."""
    source: list[str] = field(default_factory=list)
    """Source ids."""
    kind: list[str] = field(default_factory=list)
    """The picture's own format and mode, as "JPEG RGB"; "" where it cannot be decoded."""
    said_format: list[str] = field(default_factory=list)

    boxes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    label: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """As the OD API takes it: the label map's id of the text where there is one."""
    own_label: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """The number in the record, -1 where it has none."""
    crowd: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    faults: list[Fault] = field(default_factory=list)
    unknown_texts: dict[str, int] = field(default_factory=dict)
    """Texts that the label map lacks, and how many objects have each."""
    disagreeing: dict[tuple[str, int], int] = field(default_factory=dict)
    """(text, label) whose text has another id in the label map, and how many objects."""

    @property
    def owner(self) -> npt.NDArray[np.int64]:
        """Of each object the entry of its image."""
        return np.repeat(np.arange(len(self.objects)), self.objects)

    def place(self, entry: int, files: Sequence[Frames]) -> str:
        frames, number = files[int(self.file[entry])], int(self.number[entry])
        place = record_place(frames.path, number, int(frames.offsets[number]))
        return f"{place}, source id {self.source[entry]}" if self.source[entry] else place


_ARRAYS = (
    "file", "number", "width", "height", "said_width", "said_height", "orientation", "objects",
    "picture", "boxes", "label", "own_label", "crowd",
)  # fmt: skip
_LISTS = ("source", "kind", "said_format", "faults")
_COUNTS = ("unknown_texts", "disagreeing")


def joined(parts: Iterable[Contents]) -> Contents:
    """One after the other."""
    parts, whole = list(parts), Contents()
    whole.looked_at = sum(part.looked_at for part in parts)
    for name in _ARRAYS:
        columns = [getattr(whole, name), *(getattr(part, name) for part in parts)]
        setattr(whole, name, np.concatenate(columns))
    for name in _LISTS:
        setattr(whole, name, [item for part in parts for item in getattr(part, name)])
    for name in _COUNTS:
        total = getattr(whole, name)
        for part in parts:
            for key, count in getattr(part, name).items():
                total[key] = total.get(key, 0) + count
    return whole


def look_at(task: Task) -> Contents:
    """The contents of a task's records. What cannot be read is a fault, also where a disk fails:
    a process of a pool has no better way to tell."""
    found, rows = Contents(looked_at=len(task.frames)), _Rows()
    for number, offset, size in task.frames:
        try:
            data = read_record(task.path, number, offset, size)
        except LauncherError as e:
            problem = e.problems[0]
            damages = [Damage(problem.what, problem.remedy, kind="frame")]
        else:
            damages = list(_look_at(data, task, number, rows, found))
        found.faults += [
            Fault(d.kind, task.path, number, offset, d.what, d.remedy, d.source_id) for d in damages
        ]
    rows.fill(found)
    return found


@dataclass
class _Rows:
    """Columns while they grow."""

    images: list[tuple[int, ...]] = field(default_factory=list)
    pictures: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    labels: list[tuple[int, int]] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)

    def fill(self, found: Contents) -> None:
        names = _ARRAYS[: _ARRAYS.index("picture")]
        images = np.array(self.images, np.int32).reshape(-1, len(names))
        for column, name in enumerate(names):
            setattr(found, name, images[:, column])
        labels = np.array(self.labels, np.int64).reshape(-1, 2)
        found.picture = np.array(self.pictures, np.uint64)
        found.boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        found.label, found.own_label = labels[:, 0], labels[:, 1]
        found.crowd = np.array(self.crowds, np.bool_)


def _look_at(
    data: bytes, task: Task, number: int, rows: _Rows, found: Contents
) -> Iterator[Damage]:
    example = parse(data)
    if isinstance(example, Damage):
        yield example
        return
    labels = task.labels
    damages = list(examine_all(example, labels.num_classes, labels.texts))
    yield from damages
    encoded = next(iter(values(example, "image/encoded")), b"")
    encoded = encoded if isinstance(encoded, bytes) else b""
    kind, width, height = _picture(encoded)
    if any(damage.kind == "image" for damage in damages):
        kind, width, height = "", 0, 0
    boxes = _boxes(example)
    rows.boxes += boxes
    rows.labels += _labels(example, len(boxes), labels, found)
    crowds = [bool(value) for value in values(example, _CROWD)]
    rows.crowds += (crowds + [False] * len(boxes))[: len(boxes)]
    said = (_whole(example, "image/width"), _whole(example, "image/height"))
    turn = orientation(encoded)
    rows.images.append((task.file, number, width, height, *said, turn, len(boxes)))
    digest = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).digest()
    rows.pictures.append(int.from_bytes(digest, "little"))
    found.source.append(source_id(example))
    found.kind.append(kind)
    said_format = next(iter(values(example, "image/format")), b"")
    found.said_format.append(_text(said_format).lower())


def _picture(encoded: bytes) -> tuple[str, int, int]:
    """Format and mode, width and height from the header alone; "" where it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            clear = "A" in image.mode or "transparency" in image.info
            mode = f"{image.mode} alpha" if clear else image.mode
            return f"{image.format} {mode}", image.width, image.height
    except Exception:  # whatever broken bytes lead a reader to: `examine` says it properly
        return "", 0, 0


def _boxes(example: Any) -> list[tuple[float, ...]]:
    """Only when the four sides agree in length and kind: otherwise they are a fault."""
    sides = [values(example, name) for name in BOX]
    numbers = all(isinstance(side, float) for one in sides for side in one)
    if not numbers or len({len(one) for one in sides}) != 1:
        return []
    return list(zip(*sides, strict=True))


def _labels(example: Any, count: int, labels: Labels, found: Contents) -> list[tuple[int, int]]:
    """(label as it is trained on, label as written) of each box."""
    own = [v if isinstance(v, int) and abs(v) < 2**63 else -1 for v in values(example, LABEL)]
    texts = [_text(value) for value in values(example, TEXT)]
    own = (own + [-1] * count)[:count]
    if labels.texts is None or not texts:
        return [(max(label, UNKNOWN), label) for label in own]
    pairs = []
    for label, text in zip(own, (texts + [""] * count)[:count], strict=True):
        known = labels.texts.get(text)
        if known is None:
            found.unknown_texts[text] = found.unknown_texts.get(text, 0) + 1
        elif label not in (known, -1):
            key = (text, label)
            found.disagreeing[key] = found.disagreeing.get(key, 0) + 1
        pairs.append((known or UNKNOWN, label))
    return pairs


def _whole(example: Any, name: str) -> int:
    """A side in pixels, 0 where it is missing or none."""
    value = next(iter(values(example, name)), 0)
    return value if isinstance(value, int) and 0 < value < 2**31 else 0


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else ""
