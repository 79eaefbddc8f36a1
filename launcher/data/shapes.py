"""The synthetic set of the demo: squares, circles and triangles, as records.

It needs no download, is made in seconds, and a small detector learns it in minutes.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.data.drawing import BACKGROUNDS, CLASSES, Drawn, draw
from launcher.data.fields import LabelledBox, detection_features
from launcher.data.folder import LABEL_MAP, SHAPES_MANIFEST, FolderExistsError, complete_folder
from launcher.errors import MissingExtraError, UsageError
from launcher.odapi import label_map
from launcher.records import ImageInfo, RecordWriter, make_example, require_pillow, shard_name
from launcher.storage import read_json, write_json

if TYPE_CHECKING:
    from PIL.Image import Image

SPLITS = ("train", "val")
SHARDS = {"train": 4, "val": 1}
GENERATOR = 1
"""Raise it when the same parameters no longer give the same images."""
MIN_IMAGE_SIZE, MAX_IMAGE_SIZE = 32, 2048


@dataclass(frozen=True)
class ShapesParameters:
    """All that the bytes of the records depend on, beside the versions of Pillow and numpy."""

    train_images: int = 2000
    val_images: int = 200
    image_size: int = 128  # pixels, of both sides
    seed: int = 0
    background: str = "flat"  # flat: one muted colour with noise; patchy: a mosaic of such colours
    generator: int = GENERATOR

    def images(self, split: str) -> int:
        return self.train_images if split == "train" else self.val_images


@dataclass(frozen=True)
class ShapesReport:
    """A set that is complete in `folder`; `made` is False when it was there already."""

    folder: Path
    train: str  # pattern of the record files
    val: str
    label_map: Path
    train_images: int
    train_objects: int
    val_images: int
    val_objects: int
    made: bool


def make_shapes(
    out: Path,
    train_images: int = 2000,
    val_images: int = 200,
    image_size: int = 128,
    seed: int = 0,
    background: str = "flat",
    force: bool = False,
) -> ShapesReport:
    """Writes `train.record-*-of-00004`, `val.record-*-of-00001` and `label_map.pbtxt` to `out`.

    Raises UsageError for bad parameters or an `out` that exists (unless `force`), StorageError when
    it cannot be written; then nothing is left. MissingExtraError without numpy or Pillow.
    """
    parameters = ShapesParameters(train_images, val_images, image_size, seed, background)
    _check(parameters)
    require_pillow()
    _require_numpy()
    with complete_folder(out, force=force) as folder:
        label_map.write(folder / LABEL_MAP, CLASSES)
        objects = {split: _write_split(folder, split, parameters) for split in SPLITS}
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        manifest = {"parameters": asdict(parameters), "objects": objects, "bytes": sizes}
        write_json(folder / SHAPES_MANIFEST, manifest)
    return _report(out, parameters, objects, made=True)


def ensure_shapes(
    out: Path,
    train_images: int = 2000,
    val_images: int = 200,
    image_size: int = 128,
    seed: int = 0,
    background: str = "flat",
) -> ShapesReport:
    """As `make_shapes`, but returns at once when the same set is complete in `out`.

    Safe when several processes ask at once: each makes its own, and all use that of the first to
    finish. Raises UsageError when `out` holds another set, or a part of one.
    """
    wanted = ShapesParameters(train_images, val_images, image_size, seed, background)
    _check(wanted)
    if report := _existing(out, wanted):
        return report
    try:
        return make_shapes(out, train_images, val_images, image_size, seed, background)
    except FolderExistsError:
        if report := _existing(out, wanted):
            return report
        raise


def draw_image(parameters: ShapesParameters, split: str, index: int) -> tuple["Image", list[Drawn]]:
    """Image `index` of a split: the same whichever others are made, and in whatever order."""
    import numpy as np

    rng = np.random.default_rng([parameters.seed, SPLITS.index(split), index])
    return draw(rng, parameters.image_size, parameters.background)


def _write_split(folder: Path, split: str, parameters: ShapesParameters) -> int:
    """The number of objects written. Image i goes to shard i modulo the number of shards."""
    objects = 0
    # Ids are numbers, as COCO's are, and differ between the splits.
    first_id = 1 if split == "train" else 1 + parameters.train_images
    for shard in range(SHARDS[split]):
        with RecordWriter(folder / shard_name(split, shard, SHARDS[split])) as writer:
            for index in range(shard, parameters.images(split), SHARDS[split]):
                image, drawn = draw_image(parameters, split, index)
                name = f"{split}-{index:06d}.jpg"
                writer.write(_example(image, drawn, name, str(first_id + index)))
                objects += len(drawn)
    return objects


def _example(image: "Image", drawn: list[Drawn], filename: str, source_id: str) -> Any:
    encoded = io.BytesIO()
    # Colours at full resolution: subsampled ones would blur the edges that the boxes follow.
    image.save(encoded, "JPEG", quality=95, subsampling=0)
    width, height = image.size
    boxes = []
    for one in drawn:
        xmin, ymin, xmax, ymax = one.box
        sides = xmin / width, ymin / height, xmax / width, ymax / height
        boxes.append(LabelledBox(one.label, CLASSES[one.label], *sides, area=one.area))
    info = ImageInfo(width, height, "jpeg")
    return make_example(detection_features(encoded.getvalue(), info, filename, source_id, boxes))


def _check(p: ShapesParameters) -> None:
    """Raises UsageError."""
    for split in SPLITS:
        if p.images(split) < SHARDS[split]:
            raise UsageError(
                f"{p.images(split)} images do not fill {SHARDS[split]} shards",
                place=f"{split}_images",
                remedy=f"Ask for at least {SHARDS[split]}",
            )
    if not MIN_IMAGE_SIZE <= p.image_size <= MAX_IMAGE_SIZE:
        raise UsageError(
            f"{p.image_size} pixels",
            place="image_size",
            remedy=f"Choose {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}",
        )
    if p.seed < 0:
        raise UsageError(f"{p.seed} is negative", place="seed", remedy="Choose 0 or more")
    if p.background not in BACKGROUNDS:
        raise UsageError(
            f"no background {p.background!r}",
            place="background",
            remedy=f"Choose one of {', '.join(BACKGROUNDS)}",
        )


def _existing(out: Path, wanted: ShapesParameters) -> ShapesReport | None:
    """The complete set in `out`; None when there is nothing of ours yet."""
    manifest = read_json(out / SHAPES_MANIFEST)
    if manifest is None:
        return None
    try:
        found = ShapesParameters(**manifest["parameters"])
        objects = {split: int(manifest["objects"][split]) for split in SPLITS}
        sizes = dict(manifest["bytes"])
    except (KeyError, TypeError, ValueError) as e:
        raise UsageError(
            f"not written by this version of launcher ({e!r})",
            place=str(out / SHAPES_MANIFEST),
            remedy="Make the set again with --force",
        ) from None
    _refuse_others(out, found, wanted)
    for name, size in sizes.items():
        if not (out / name).is_file() or (out / name).stat().st_size != size:
            raise UsageError(
                f"{name} is missing or has not its {size} bytes any more",
                place=str(out),
                remedy="Make the set again with --force",
            )
    return _report(out, found, objects, made=False)


def _refuse_others(out: Path, found: ShapesParameters, wanted: ShapesParameters) -> None:
    names = [f.name for f in fields(ShapesParameters)]
    differences = [
        f"{name} {getattr(found, name)}, not {getattr(wanted, name)}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]
    if differences:
        raise UsageError(
            f"holds another shapes set: {'; '.join(differences)}",
            place=str(out),
            remedy="Choose another folder, or replace this one with --force",
        )


def _report(
    out: Path, parameters: ShapesParameters, objects: Mapping[str, int], made: bool
) -> ShapesReport:
    patterns = {split: str(out / f"{split}.record-?????-of-{n:05d}") for split, n in SHARDS.items()}
    return ShapesReport(
        folder=out,
        train=patterns["train"],
        val=patterns["val"],
        label_map=out / LABEL_MAP,
        train_images=parameters.train_images,
        train_objects=objects["train"],
        val_images=parameters.val_images,
        val_objects=objects["val"],
        made=made,
    )


def _require_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "numpy, which draws the shapes, is not installed",
            remedy="pip install 'launcher[train]'",
        ) from None
