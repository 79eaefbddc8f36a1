"""`launcher data convert`: a COCO instances file and its images to sharded TFRecords.

The records are the same bytes for the same input, however many processes make them: images are
ordered by id, shuffled with a fixed seed (so that every shard is a fair sample, and a worker that
reads few shards sees all classes) and dealt to the shards in turn. The processes read, check and
frame. With shards enough for all of them each writes whole shards; otherwise one process writes
what the others hand to it, which costs a quarter more.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from launcher.data.coco import SKIP_BAD, CocoImage, CocoSet, load
from launcher.data.fields import detection_features
from launcher.data.folder import LABEL_MAP, complete_folder
from launcher.data.pool import Pool, cores
from launcher.data.progress import Progress
from launcher.data.syncing import Syncing
from launcher.errors import DataError, Problem, StorageError, UsageError
from launcher.odapi import label_map
from launcher.records import (
    BadImageError,
    ImageInfo,
    RecordWriter,
    encode_example,
    frame_parts,
    inspect,
    require_pillow,
    shard_name,
)
from launcher.records.exif import UPRIGHT, orientation

SHUFFLE_SEED = 0
CHUNK_IMAGES = 16  # what a process is given at a time: 2.5 MB of COCO and 10 ms of work, measured
SHARDS_PER_PROCESS = 4  # for whole shards: with fewer a process may idle in the end for long
PROCESSES_PER_CORE = 8  # more of them only take memory; a disk far away may want several a core
LARGE_BYTES = 1_000_000  # of annotations: reading more takes longer than starting a process
MAX_SHARD_IMAGES = 2000  # the same: two seconds between two looks at Ctrl-C and the progress


@dataclass(frozen=True)
class ConvertReport:
    """What was written, and what was not."""

    folder: Path
    files: tuple[Path, ...]
    label_map: Path
    images: int
    objects: int  # crowds included
    crowds: int
    empty_images: int  # written without an object
    zero_size: tuple[str, ...]  # ids of annotations left out: their box has no area
    clipped: tuple[str, ...]  # ids of annotations whose box stuck out by a pixel at most
    bad_boxes: tuple[str, ...]  # left out by skip_bad: annotation, box and reason
    bad_images: tuple[str, ...]  # left out by skip_bad: file and reason
    turned: tuple[str, ...]  # files with an EXIF mark that turns them for viewers, not in training

    @property
    def pattern(self) -> str:
        """What a spec's data.train or data.val names."""
        return str(self.files[0]).replace("-00000-of-", "-?????-of-")


@dataclass(frozen=True)
class _Chunk:
    """Images that follow each other in one shard; with `path` all of it, to be written there."""

    shard: int
    folder: Path
    images: tuple[CocoImage, ...]
    skip_bad: bool
    path: Path | None = None


@dataclass(frozen=True)
class _Made:
    """A chunk as frames of a TFRecord file, if it was not written; `problem` ended it early."""

    shard: int
    frames: bytes = b""
    images: int = 0
    objects: int = 0
    crowds: int = 0
    empty: int = 0
    left_out: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()
    problem: Problem | None = None
    storage: bool = False  # the problem is the disk's, not the data's


def convert(
    annotations: Path,
    images: Path,
    out: Path,
    prefix: str,
    shards: int,
    processes: int | None = None,
    limit: int | None = None,
    skip_bad: bool = False,
    force: bool = False,
) -> ConvertReport:
    """Writes `PREFIX.record-00000-of-SHARDS` ... and `label_map.pbtxt` to the new folder `out`.

    `processes`: None is one a core. `limit`: only the first images by id. `skip_bad`: leave bad
    boxes and unreadable images out, and report them, instead of an error. `force`: replace what a
    former conversion left in `out`. Progress goes to stderr.

    Raises DataError for bad input, UsageError for bad arguments, StorageError when `out` cannot be
    written, MissingExtraError without Pillow; then nothing is left of `out`.
    """
    processes = cores() if processes is None else processes
    _check_arguments(images, prefix, shards, processes, limit)
    require_pillow()
    inputs = (annotations, images)
    with complete_folder(out, force=force, inputs=inputs) as folder, Pool(_make) as pool:
        if _is_large(annotations):
            pool.start(min(processes, cores()))
        coco = load(annotations, limit=limit, skip_bad=skip_bad)
        if shards > len(coco.images):
            raise UsageError(
                f"{len(coco.images)} images do not fill {shards} shards",
                place="shards",
                remedy=f"Ask for at most {len(coco.images)}",
            )
        label_map.write(folder / LABEL_MAP, coco.names)
        names = [shard_name(prefix, shard, shards) for shard in range(shards)]
        paths = [folder / name for name in names]
        chunks = list(_chunks(coco.images, images, paths, skip_bad, processes))
        pool.start(min(processes, len(chunks)))
        results = _write(pool.map(chunks), paths, len(coco.images))
    return _report(out, names, coco, results)


def _is_large(annotations: Path) -> bool:
    try:
        return annotations.stat().st_size >= LARGE_BYTES
    except OSError:
        return False  # reading it will say why


def _check_arguments(
    images: Path, prefix: str, shards: int, processes: int, limit: int | None
) -> None:
    if not images.is_dir():
        raise DataError(
            "no such folder", place=str(images), remedy="Give the folder that holds the image files"
        )
    if not prefix or "/" in prefix or prefix.startswith("."):
        raise UsageError(
            f"{prefix!r} does not begin a file's name", place="prefix", remedy='Use one as "train"'
        )
    for name, value in (("shards", shards), ("processes", processes), ("limit", limit)):
        if value is not None and value < 1:
            raise UsageError(f"{value}", place=name, remedy="Choose 1 or more")
    if shards > 99_999:
        raise UsageError(f"{shards}", place="shards", remedy="Choose 99999 or fewer")
    if processes > (most := PROCESSES_PER_CORE * cores()):
        raise UsageError(
            f"{processes} on {cores()} cores", place="processes", remedy=f"Choose {most} or fewer"
        )


def _chunks(
    images: Sequence[CocoImage], folder: Path, paths: Sequence[Path], skip_bad: bool, processes: int
) -> Iterator[_Chunk]:
    """Shard after shard."""
    order = list(images)
    random.Random(SHUFFLE_SEED).shuffle(order)
    shards = len(paths)
    largest = -(-len(order) // shards)
    whole = shards >= SHARDS_PER_PROCESS * processes and largest <= MAX_SHARD_IMAGES
    size = largest if whole else CHUNK_IMAGES
    for shard, path in enumerate(paths):
        mine = order[shard::shards]
        for start in range(0, len(mine), size):
            some = tuple(mine[start : start + size])
            yield _Chunk(shard, folder, some, skip_bad, path if whole else None)


def _make(chunk: _Chunk) -> _Made:
    """Runs in a process of the pool. A problem is returned, not raised: it keeps its parts."""
    if chunk.path is None:
        frames: list[bytes] = []
        made = _make_each(chunk, frames.extend)
        return replace(made, frames=b"".join(frames))
    try:
        with RecordWriter(chunk.path, sync=False) as writer:
            return _make_each(chunk, lambda frame: writer.write_frames(frame, 1))
    except StorageError as e:
        return _Made(chunk.shard, problem=e.problems[0], storage=True)


def _make_each(chunk: _Chunk, take: Callable[[list[bytes]], None]) -> _Made:
    """Gives the frame of each image, in parts, to `take`, up to the first problem."""
    written: list[CocoImage] = []
    left_out: list[str] = []
    turned: list[str] = []
    problem = None
    for image in chunk.images:
        path = chunk.folder / image.file_name
        try:
            encoded = _encoded(path)
            take(_frame(image, encoded))
            written.append(image)
            if orientation(encoded) != UPRIGHT:
                turned.append(str(path))
        except BadImageError as e:
            if not chunk.skip_bad:
                problem = Problem(f"{path}, image {image.source_id}", str(e), SKIP_BAD)
                break
            left_out.append(f"{path}, image {image.source_id}: {e}")
    boxes = [box for image in written for box in image.boxes]
    return _Made(
        shard=chunk.shard,
        images=len(written),
        objects=len(boxes),
        crowds=sum(box.crowd for box in boxes),
        empty=sum(not image.boxes for image in written),
        left_out=tuple(left_out),
        turned=tuple(turned),
        problem=problem,
    )


def _encoded(path: Path) -> bytes:
    """Raises BadImageError."""
    try:
        return path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: a null byte in the name
        reason = e.strerror if isinstance(e, OSError) else e
        raise BadImageError(f"a file that cannot be read ({reason})") from None


def _frame(image: CocoImage, encoded: bytes) -> list[bytes]:
    """A record in parts. Raises BadImageError."""
    info = inspect(encoded)
    if (info.width, info.height) != (image.width, image.height):
        raise BadImageError(_other_size(info, image))
    features = detection_features(encoded, info, image.file_name, image.source_id, image.boxes)
    return frame_parts(encode_example(features))


def _other_size(info: ImageInfo, image: CocoImage) -> str:
    what = (
        f"{info.width} x {info.height} pixels, but the annotations say"
        f" {image.width} x {image.height}"
    )
    turned = (info.height, info.width) == (image.width, image.height)
    return what + (" (turned by an EXIF mark, which training ignores?)" if turned else "")


def _write(made: Iterator[_Made], paths: Sequence[Path], images: int) -> list[_Made]:
    """Writes the shards one after the other; the results come back without their frames."""
    results: list[_Made] = []
    with Progress("convert", images) as progress, Syncing() as syncing:
        for shard, of_shard in groupby(_good(made), key=lambda chunk: chunk.shard):
            with ExitStack() as stack:
                writer: RecordWriter | None = None
                count = 0
                for chunk in of_shard:
                    if chunk.frames and writer is None:
                        writer = stack.enter_context(RecordWriter(paths[shard], sync=False))
                    if writer is not None:
                        writer.write_frames([chunk.frames], chunk.images)
                    results.append(replace(chunk, frames=b""))
                    progress.advance(chunk.images + len(chunk.left_out))
                    count += chunk.images
            if not count:
                raise DataError(
                    f"all images of shard {shard} were left out",
                    place=str(paths[shard]),
                    remedy="Correct the images, or use fewer shards",
                )
            syncing.add(paths[shard])
    return results


def _good(made: Iterator[_Made]) -> Iterator[_Made]:
    """Raises the first problem, in the order of the images, as the error that it is."""
    for chunk in made:
        if problem := chunk.problem:
            kind = StorageError if chunk.storage else DataError
            raise kind(problem.what, place=problem.place, remedy=problem.remedy)
        yield chunk


def _report(
    out: Path, names: Sequence[str], coco: CocoSet, results: Sequence[_Made]
) -> ConvertReport:
    return ConvertReport(
        folder=out,
        files=tuple(out / name for name in names),
        label_map=out / LABEL_MAP,
        images=sum(made.images for made in results),
        objects=sum(made.objects for made in results),
        crowds=sum(made.crowds for made in results),
        empty_images=sum(made.empty for made in results),
        zero_size=coco.zero_size,
        clipped=coco.clipped,
        bad_boxes=coco.bad_boxes,
        bad_images=tuple(text for made in results for text in made.left_out),
        turned=tuple(path for made in results for path in made.turned),
    )
