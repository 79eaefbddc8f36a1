"""Which files belong together: `train.record-00003-of-00100` is one of 100, named or not.

Reads folders, no file.
"""

import glob
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from launcher.records.frames import Frames

_OF = re.compile(r"(?P<stem>.*?)(?P<index>\d+)-of-(?P<total>\d+)(?P<end>.*)")
_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<index>\d+)(?P<end>\D*)")
"""Other converters' `train_007.tfrecord`; the last number of a name counts."""
_IN_A_ROW = 3


@dataclass(frozen=True)
class ShardSet:
    """Files of one folder whose names differ in their number alone."""

    folder: Path
    stem: str
    end: str
    width: int
    """Digits of the number."""
    total: str
    """As the names say it, "00100"; "" where they do not."""
    named: frozenset[int]
    """Numbers that the spec names."""
    beside: frozenset[int]
    """Numbers that are in the folder, those of `named` included."""
    images: int
    """Records of the named ones."""
    named_bytes: int
    beside_bytes: int
    paths: frozenset[Path]
    """Of the named ones."""

    @property
    def key(self) -> tuple[Path, str, str, int, str]:
        """What no other set has."""
        return self.folder, self.stem, self.end, self.width, self.total

    @property
    def name(self) -> tuple[Path, str, str]:
        """What two conversions of one set have in common."""
        return self.folder, self.stem, self.end

    @property
    def is_certain(self) -> bool:
        """Whether the files are a set: the names say it, or they count on without a gap. A year in
        two names makes no set of them."""
        first, last = min(self.beside), max(self.beside)
        in_a_row = first in (0, 1) and last - first + 1 == len(self.beside) >= _IN_A_ROW
        return bool(self.total) or in_a_row

    @property
    def size(self) -> int:
        """How many files it should have: what the names say, else what is there."""
        return int(self.total) if self.total else len(self.beside)

    @property
    def unnamed(self) -> int:
        return len(self.beside - self.named)

    @property
    def absent(self) -> int:
        """How many numbers are nowhere. One name may promise any number of files."""
        return self.size - sum(number < self.size for number in self.beside) if self.total else 0

    def first_absent(self, count: int) -> list[int]:
        return list(islice((n for n in range(self.size) if n not in self.beside), count))

    @property
    def pattern(self) -> str:
        """What names all of it."""
        of = f"-of-{self.total}" if self.total else ""
        name = f"{glob.escape(self.stem)}{'?' * self.width}{of}{glob.escape(self.end)}"
        return str(Path(glob.escape(str(self.folder))) / name)

    @property
    def title(self) -> str:
        of = f"-of-{self.total}" if self.total else ""
        return f"{self.stem}{'?' * self.width}{of}{self.end}"


def shard_sets(files: Sequence[Frames]) -> tuple[ShardSet, ...]:
    """The sets that `files` are of, in their order. Files without a number are in none."""
    groups: dict[tuple[Path, str, str, int, str], dict[int, Frames]] = {}
    for file in files:
        if found := _parsed(file.path):
            key, number = found
            groups.setdefault(key, {})[number] = file
    return tuple(_shard_set(key, named) for key, named in groups.items())


def _parsed(path: Path) -> tuple[tuple[Path, str, str, int, str], int] | None:
    """(folder, stem, end, width, total) and the number."""
    if found := _OF.fullmatch(path.name):
        width, total = len(found["index"]), found["total"]
    elif found := _NUMBERED.fullmatch(path.name):
        width, total = len(found["index"]), ""
    else:
        return None
    return (path.parent, found["stem"], found["end"], width, total), int(found["index"])


def _shard_set(key: tuple[Path, str, str, int, str], named: dict[int, Frames]) -> ShardSet:
    folder, stem, end, width, total = key
    sizes = {number: size for other, number, size in _in_folder(folder) if other == key}
    sizes |= {number: file.file_bytes for number, file in named.items()}
    return ShardSet(
        folder,
        stem,
        end,
        width,
        total,
        named=frozenset(named),
        beside=frozenset(sizes),
        images=sum(file.count for file in named.values()),
        named_bytes=sum(file.file_bytes for file in named.values()),
        beside_bytes=sum(sizes.values()),
        paths=frozenset(file.path for file in named.values()),
    )


def _in_folder(folder: Path) -> Iterator[tuple[tuple[Path, str, str, int, str], int, int]]:
    try:
        entries = list(folder.iterdir())
    except OSError:  # readable files in a folder that cannot be listed
        return
    for path in entries:
        if found := _parsed(path):
            try:
                size = path.stat().st_size
            except OSError:  # a link to nowhere
                continue
            yield *found, size
