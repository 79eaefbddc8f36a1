"""`launcher data view`: images as the model gets them, the worst first, as PNG and as one page.

The pictures are made by the worker's own input in a process of its own (`runtime/views.py`), which
is handed in as `draw`; here the records are chosen and the boxes drawn.
"""

import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from launcher.audit.choosing import TITLES, Chosen, choose, flagged
from launcher.audit.sheets import Box, Row, draw_boxes, page, sheet
from launcher.data.progress import Progress
from launcher.errors import StorageError, UsageError
from launcher.odapi import pipeline as pipelines
from launcher.planning import Plan
from launcher.preflight.anchors import MATCHED, anchors_of
from launcher.preflight.contents import Fault
from launcher.preflight.reading import DataRead, Split
from launcher.records import Example, RecordWriter, values, write_error
from launcher.records.damage import BOX, LABEL, TEXT

FLAGGED = "Flagged by check, as they are stored"
PAGE = "index.html"
_SHEET_NAMES = {FLAGGED: "flagged", **{title: name for name, title in TITLES.items()}}

Draw = Callable[..., None]


@dataclass(frozen=True)
class View:
    page: Path
    sheets: tuple[Path, ...]
    records: int


def view(
    plan: Plan, read: DataRead, split: Split, out: Path, *, images: int, draws: int, draw: Draw
) -> View:
    """Writes `index.html` and a PNG a section into `out`, which is made.

    `images` of each section, each once as it is and `draws` times augmented. Raises UsageError
    when nothing can be shown, StorageError, and what `draw` raises.
    """
    chosen = choose(plan, read, split, images)
    sections: dict[str, list[Row]] = {
        FLAGGED: [_as_stored(fault, data, read) for fault, data in flagged(split, images)]
    }
    if chosen:
        with tempfile.TemporaryDirectory() as folder:
            made = _made(plan, chosen, Path(folder), draws, draw)
            for one, row in zip(chosen, _rows(plan, read, chosen, made, Path(folder)), strict=True):
                sections.setdefault(TITLES[one.section], []).append(row)
    if not any(sections.values()):
        raise UsageError(
            f"there is no {split.name} record to show",
            place=", ".join(split.patterns),
            remedy="`launcher data audit` tells what is wrong with them",
        )
    return _write(plan, split, out, sections)


def _write(plan: Plan, split: Split, out: Path, sections: Mapping[str, list[Row]]) -> View:
    lead = (
        f"{split.name} images as the model gets them: resized as the pipeline.config says, colours "
        "before normalization; first without augmentation, then as training draws them. A dotted "
        f"box with ! has no anchor over {MATCHED} IoU at that size."
    )
    sheets = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, rows in sections.items():
            if rows:
                sheets.append(out / f"{_SHEET_NAMES[name]}.png")
                sheet(rows).save(sheets[-1])
    except OSError as e:
        error: StorageError = write_error(e, out)
        raise error from e
    page(out / PAGE, f"{plan.name}: {split.name}", lead, sections)
    return View(out / PAGE, tuple(sheets), sum(map(len, sections.values())))


def _made(
    plan: Plan, chosen: list[Chosen], folder: Path, draws: int, draw: Draw
) -> list[dict[str, Any]]:
    """Lets the worker's input draw the chosen records. Returns what is in each picture."""
    records = folder / "chosen.record"
    with RecordWriter(records) as writer:
        for one in chosen:
            writer.write(one.data)
    config = pipelines.parse(plan.pipeline_text, plan.name)
    config.train_input_reader.tf_record_input_reader.input_path[:] = [str(records)]
    pipelines.write(folder / "pipeline.config", config)
    if not config.train_config.data_augmentation_options:
        draws = 0  # they would all be the same
    with Progress("drawing", len(chosen) * (1 + draws)) as progress:
        draw(
            folder / "pipeline.config", folder, draws=draws, seed=plan.worker_config.seed,
            done=lambda count: progress.advance(count - progress.done),
        )  # fmt: skip
    made: list[dict[str, Any]] = json.loads((folder / "boxes.json").read_text())
    return made


def _rows(
    plan: Plan, read: DataRead, chosen: list[Chosen], made: list[dict[str, Any]], folder: Path
) -> list[Row]:
    model = pipelines.parse(plan.pipeline_text, plan.name).model
    rows = [Row(_caption(one), one.place) for one in chosen]
    for one in sorted(made, key=lambda one: int(one["draw"])):
        with Image.open(folder / one["file"]) as picture:
            boxes = np.array(one["boxes"], float).reshape(-1, 4)
            scale = [picture.height, picture.width] * 2
            anchors = anchors_of(model, (picture.height, picture.width))
            matched = (
                anchors.best_iou(boxes * scale) >= MATCHED if anchors else np.ones(len(boxes), bool)
            )
            shown = [
                Box(box, read.labels.names.get(label, f"id {label}"), label, bool(fits))
                for box, label, fits in zip(boxes.tolist(), one["labels"], matched, strict=True)
            ]
            row = rows[one["image"]]
            row.pictures.append(draw_boxes(picture, shown))
            size = f"{picture.width} x {picture.height}"
            row.titles.append(f"{size}, augmented" if one["draw"] else size)
    return rows


def _caption(one: Chosen) -> str:
    named = f"source id {one.source_id}"
    return f"{named}: {one.why}" if one.why else named


def _as_stored(fault: Fault, data: bytes, read: DataRead) -> Row:
    """A record that training would stop at, as far as it can be shown."""
    row = Row(f"source id {fault.source_id}: {fault.what}", fault.place.partition(", source")[0])
    try:
        example = Example.FromString(data)
        with Image.open(io.BytesIO(values(example, "image/encoded")[0])) as image:
            row.pictures.append(draw_boxes(image, _boxes(example, image.size, read)))
            row.titles.append(f"{image.width} x {image.height}")
    except Exception:  # whatever a broken record leads a reader to: its caption says what is wrong
        row.pictures.clear()
        row.titles.clear()
    return row


def _boxes(example: Any, size: tuple[int, int], read: DataRead) -> list[Box]:
    """As the record has them; pixels as parts, so that they can be seen."""
    found = np.array([values(example, name) for name in BOX], float).T.reshape(-1, 4)
    if len(found) and np.nanmax(found) > 2:
        found = found / [size[1], size[0], size[1], size[0]]
    texts = [text.decode(errors="replace") for text in values(example, TEXT)]
    labels = [int(label) for label in values(example, LABEL)] or [0] * len(found)
    names = texts or [read.labels.names.get(label, f"id {label}") for label in labels]
    return [
        Box(np.nan_to_num(box).tolist(), name, label)
        for box, name, label in zip(found, names, labels, strict=True)
    ]


def empty_folder(out: Path, *, force: bool) -> None:
    """Raises UsageError when `out` holds something that is not a former view."""
    ours = {PAGE, *(f"{name}.png" for name in _SHEET_NAMES.values())}
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if out.exists() and not out.is_dir():
        raise UsageError("is a file, not a folder", place=str(out), remedy="Choose another folder")
    if foreign := sorted(there - ours):
        raise UsageError(
            f"holds files of something else, such as {foreign[0]}",
            place=str(out),
            remedy="Choose a folder that does not exist yet",
        )
    if there and not force:
        raise UsageError("exists", place=str(out), remedy="Give --force to replace it")
    if there:
        shutil.rmtree(out)
