"""Reading the data of a plan: the frames of all records, the contents of a sample.

Nothing is judged here. Of every record 16 bytes are read, so counting goes as fast as the disk
answers; `sample` records of each set, spread evenly over all its files, are decoded (with `full`
all of them, in one process a core). numpy is imported with this module.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from launcher.data.pool import Pool, cores
from launcher.data.progress import Progress
from launcher.errors import DataError
from launcher.odapi import label_map
from launcher.planning import Plan
from launcher.preflight.contents import Contents, Fault, Labels, Task, joined, look_at
from launcher.preflight.shard_sets import ShardSet, shard_sets
from launcher.records import expand, require_pillow
from launcher.records.files import file_mode
from launcher.records.frames import Frames, read_frames
from launcher.spec import shapes_of

SAMPLE = 500
"""Records of each set that are decoded: a second of COCO images on one core."""

_WALKERS = 8
"""Files walked at a time: a walk waits for the disk."""
_TASK = 64
"""Records that a process is given at a time."""
_ONE_PROCESS = 3000
"""Up to so many records the start of a pool takes longer than it saves."""
QUIET_SECONDS = 2.0


@dataclass(frozen=True)
class Split:
    """The train or the val set: its files as far as they can be read here."""

    key: str
    """data.train or data.val."""
    patterns: tuple[str, ...]
    expected: int | None
    """Images that it should have."""
    files: tuple[Frames, ...] = ()
    contents: Contents = field(default_factory=Contents)
    missing: tuple[DataError, ...] = ()
    """Of patterns that match no file, and files that cannot be opened."""
    matches: tuple[tuple[str, frozenset[Path]], ...] = ()
    """The files of each pattern."""
    sets: tuple[ShardSet, ...] = ()
    identities: tuple[tuple[tuple[int, int], Path], ...] = ()
    """Device and number of each file: a link is the file that it leads to."""

    @property
    def name(self) -> str:
        return self.key.removeprefix("data.")

    @property
    def count(self) -> int:
        """Records whose frames are good, of all files."""
        return sum(file.count for file in self.files)

    @property
    def is_whole(self) -> bool:
        """Whether every record was decoded."""
        total = sum(len(file.offsets) for file in self.files)
        return bool(self.files) and self.contents.looked_at == total

    @property
    def is_known(self) -> bool:
        """Whether all of it could be read."""
        return bool(self.files) and not self.missing


@dataclass(frozen=True)
class DataRead:
    train: Split
    val: Split
    labels: Labels
    label_error: DataError | None = None
    to_draw: bool = False
    """data.synthetic asks for records that `submit` is still to draw."""

    @property
    def splits(self) -> tuple[Split, Split]:
        return self.train, self.val


def read_data(
    plan: Plan, *, sample: int = SAMPLE, full: bool = False, progress: bool = True
) -> DataRead:
    """Raises StorageError when the disk fails, DataError when data.synthetic may not be looked up,
    MissingExtraError without Pillow."""
    labels, label_error = _labels(plan)
    data = plan.data
    sets = (("data.train", data.train, data.train_images), ("data.val", data.val, data.val_images))
    train, val = (Split(*one) for one in sets)
    shapes = shapes_of(plan.spec)
    if shapes and file_mode(shapes.folder) is None:
        return DataRead(train, val, labels, to_draw=True)
    splits = [_with_paths(train), _with_paths(val)]
    if any(split.files for split in splits):
        require_pillow()
        splits = [_with_frames(split, progress) for split in splits]
        splits = _with_contents(splits, labels, sample, full, progress)
    return DataRead(splits[0], splits[1], labels, label_error)


def _labels(plan: Plan) -> tuple[Labels, DataError | None]:
    where, count = plan.data.label_map, plan.data.num_classes
    classes = count or Labels.num_classes
    if not where:
        return Labels(num_classes=classes), None
    try:
        names, texts = label_map.read(Path(where)), label_map.read_texts(Path(where))
    except DataError as e:
        return Labels(num_classes=classes), e
    return Labels(names, texts, count or max(names)), None


def _with_paths(split: Split) -> Split:
    """With its files as frames without an entry."""
    missing: list[DataError] = []
    matches: list[tuple[str, frozenset[Path]]] = []
    for pattern in split.patterns:
        try:
            matches.append((pattern, frozenset(expand(pattern))))
        except DataError as e:
            missing.append(e)
    paths = {path for _, found in matches for path in found}
    none = np.zeros(0, np.int64)
    files = tuple(Frames(path, 0, none, none, none.astype(np.uint32)) for path in sorted(paths))
    return replace(split, files=files, missing=tuple(missing), matches=tuple(matches))


def _with_frames(split: Split, progress: bool) -> Split:
    paths = [file.path for file in split.files]
    found: list[Frames] = []
    missing = list(split.missing)

    def read(path: Path) -> Frames | DataError:
        try:
            return read_frames(path)
        except DataError as e:
            return e

    bar = Progress(f"counting {split.name}", len(paths), "files", quiet_seconds=_quiet(progress))
    with ThreadPoolExecutor(_WALKERS) as pool, bar:
        for one in pool.map(read, paths) if len(paths) > 1 else map(read, paths):
            if isinstance(one, DataError):
                missing.append(one)
            else:
                found.append(one)
            bar.advance(1)
    return replace(
        split,
        files=tuple(found),
        missing=tuple(missing),
        sets=shard_sets(found),
        identities=tuple(_identity(file.path) for file in found),
    )


def _identity(path: Path) -> tuple[tuple[int, int], Path]:
    status = path.stat()
    return (status.st_dev, status.st_ino), path


def _with_contents(
    splits: Sequence[Split], labels: Labels, sample: int, full: bool, progress: bool
) -> list[Split]:
    chosen = [_tasks(split.files, None if full else sample, labels) for split in splits]
    everything = [task for tasks in chosen for task in tasks]
    total = sum(len(task.frames) for task in everything)
    parts: list[Contents] = []
    bar = Progress("looking at images", total, quiet_seconds=_quiet(progress))
    with bar, Pool(look_at) as pool:
        pool.start(cores() if total > _ONE_PROCESS else 1)
        for task, part in zip(everything, pool.map(everything), strict=True):
            parts.append(part)
            bar.advance(len(task.frames))
    mine = [
        [_bad_frames(split), *_take(parts, len(tasks))]
        for split, tasks in zip(splits, chosen, strict=True)
    ]
    return [replace(split, contents=joined(own)) for split, own in zip(splits, mine, strict=True)]


def _take(parts: list[Contents], count: int) -> list[Contents]:
    """The first `count` of them, which are taken out."""
    taken = parts[:count]
    del parts[:count]
    return taken


def _bad_frames(split: Split) -> Contents:
    """Of all files, as faults."""
    faults = []
    for file in split.files:
        for bad in file.bad:
            problem = bad.error.problems[0]
            what = (problem.what, problem.remedy)
            faults.append(Fault("frame", file.path, bad.number, bad.offset, *what))
    return Contents(looked_at=len(faults), faults=faults)


def _tasks(files: Sequence[Frames], sample: int | None, labels: Labels) -> list[Task]:
    tasks = []
    for number, (file, records) in enumerate(zip(files, _chosen(files, sample), strict=True)):
        frames = [(n, int(file.offsets[n]), int(file.sizes[n])) for n in records]
        for start in range(0, len(frames), _TASK):
            tasks.append(Task(number, file.path, tuple(frames[start : start + _TASK]), labels))
    return tasks


def _chosen(files: Sequence[Frames], sample: int | None) -> Iterator[list[int]]:
    """The good records of each file to look at: its first and its last one, others evenly."""
    total = sum(file.count for file in files)
    for file in files:
        bad = {one.number for one in file.bad}
        good = [n for n in range(len(file.offsets)) if n not in bad]
        if sample is None or total <= sample or not good:
            yield good
            continue
        share = min(len(good), max(1, sample * len(good) // total))
        yield [good[i] for i in np.linspace(0, len(good) - 1, share).astype(np.int64).tolist()]


def _quiet(progress: bool) -> float:
    return QUIET_SECONDS if progress else float("inf")
