"""`launcher data convert`: a COCO instances file and its images to sharded TFRecords.

The records are the same bytes for the same input, however many processes make them: images are
ordered by id, shuffled with a fixed seed (so that every shard is a fair sample, and a worker that
reads few shards sees all classes), dealt to the shards in turn, and written by one process in
order. The other processes read, decode and frame.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.data.coco import SKIP_BAD, CocoImage, CocoSet, load
from launcher.data.fields import detection_example
from launcher.data.folder import LABEL_MAP, complete_folder
from launcher.data.pool import cores, ordered_map
from launcher.data.progress import Progress
from launcher.errors import DataError, Problem, UsageError
from launcher.odapi import label_map
from launcher.records import (
    BadImageError,
    ImageInfo,
    RecordWriter,
    frame,
    inspect,
    require_pillow,
    shard_name,
)

SHUFFLE_SEED = 0
CHUNK_IMAGES = 16  # what a process is given at a time: 2.5 MB of COCO and 40 ms of work, measured


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

    @property
    def pattern(self) -> str:
        """What a spec's data.train or data.val names."""
        return str(self.files[0]).replace("-00000-of-", "-?????-of-")


@dataclass(frozen=True)
class _Chunk:
    """Images that follow each other in one shard."""

    shard: int
    folder: Path
    images: tuple[CocoImage, ...]
    skip_bad: bool


@dataclass(frozen=True)
class _Made:
    """A chunk as frames of a TFRecord file; `problem` ended it early."""

    shard: int
    frames: bytes
    images: int
    objects: int
    crowds: int
    empty: int
    left_out: tuple[str, ...]
    problem: Problem | None


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
    former conversion left in `out`. Progress goes to stderr. A script calls this below
    `if __name__ == "__main__"`, since it starts processes.

    Raises DataError for bad input, UsageError for bad arguments, StorageError when `out` cannot be
    written, MissingExtraError without Pillow; then nothing is left of `out`.
    """
    processes = cores() if processes is None else processes
    _check_arguments(images, prefix, shards, processes, limit)
    require_pillow()
    with complete_folder(out, force=force) as folder:
        coco = load(annotations, limit=limit, skip_bad=skip_bad)
        if shards > len(coco.images):
            raise UsageError(
                f"{len(coco.images)} images do not fill {shards} shards",
                place="shards",
                remedy=f"Ask for at most {len(coco.images)}",
            )
        label_map.write(folder / LABEL_MAP, coco.names)
        names = [shard_name(prefix, shard, shards) for shard in range(shards)]
        chunks = list(_chunks(coco.images, images, shards, skip_bad))
        with closing(ordered_map(_make, chunks, min(processes, len(chunks)))) as made:
            results = _write(made, [folder / name for name in names], len(coco.images))
    return _report(out, names, coco, results)


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


def _chunks(
    images: Sequence[CocoImage], folder: Path, shards: int, skip_bad: bool
) -> Iterator[_Chunk]:
    """Shard after shard."""
    order = list(images)
    random.Random(SHUFFLE_SEED).shuffle(order)
    for shard in range(shards):
        mine = order[shard::shards]
        for start in range(0, len(mine), CHUNK_IMAGES):
            yield _Chunk(shard, folder, tuple(mine[start : start + CHUNK_IMAGES]), skip_bad)


def _make(chunk: _Chunk) -> _Made:
    """Runs in a process of the pool. A problem is returned, not raised: it keeps its parts."""
    frames: list[bytes] = []
    written: list[CocoImage] = []
    left_out: list[str] = []
    problem = None
    for image in chunk.images:
        path = chunk.folder / image.file_name
        try:
            frames.append(_frame(image, path))
            written.append(image)
        except BadImageError as e:
            if not chunk.skip_bad:
                problem = Problem(f"{path}, image {image.source_id}", str(e), SKIP_BAD)
                break
            left_out.append(f"{path}, image {image.source_id}: {e}")
    boxes = [box for image in written for box in image.boxes]
    return _Made(
        shard=chunk.shard,
        frames=b"".join(frames),
        images=len(written),
        objects=len(boxes),
        crowds=sum(box.crowd for box in boxes),
        empty=sum(not image.boxes for image in written),
        left_out=tuple(left_out),
        problem=problem,
    )


def _frame(image: CocoImage, path: Path) -> bytes:
    """Raises BadImageError."""
    try:
        encoded = path.read_bytes()
    except (OSError, ValueError) as e:  # ValueError: a null byte in the name
        reason = e.strerror if isinstance(e, OSError) else e
        raise BadImageError(f"a file that cannot be read ({reason})") from None
    info = inspect(encoded)
    if (info.width, info.height) != (image.width, image.height):
        raise BadImageError(_other_size(info, image))
    example = detection_example(encoded, info, image.file_name, image.source_id, image.boxes)
    return frame(example.SerializeToString(deterministic=True))


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
    with Progress("convert", images) as progress:
        chunk = next(made, None)
        for shard, path in enumerate(paths):
            with RecordWriter(path) as writer:
                while chunk is not None and chunk.shard == shard:
                    _write_chunk(writer, chunk)
                    results.append(replace(chunk, frames=b""))
                    progress.advance(chunk.images + len(chunk.left_out))
                    chunk = next(made, None)
            if not writer.count:
                raise DataError(
                    f"all images of shard {shard} were left out",
                    place=str(path),
                    remedy="Correct the images, or use fewer shards",
                )
    return results


def _write_chunk(writer: RecordWriter, chunk: _Made) -> None:
    if chunk.problem:
        problem = chunk.problem
        raise DataError(problem.what, place=problem.place, remedy=problem.remedy)
    writer.write_frames(chunk.frames, chunk.images)


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
    )
