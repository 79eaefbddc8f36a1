"""A data set with one fault of each kind, and a spec that names it."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.records import RecordWriter, make_example, read_records

NAMES = ("cat", "dog")


def picture(number: int, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((80, 60)).convert(mode).save(file, kind)
    return file.getvalue()


def record(number: int, *boxes: tuple[float, ...], **changed: Any) -> dict[str, Any]:
    """Boxes are [ymin, xmin, ymax, xmax]; without any, one of 40 x 30 px in the middle."""
    boxes = boxes or ((0.25, 0.25, 0.75, 0.75),)
    sides = ("ymin", "xmin", "ymax", "xmax")
    features: dict[str, Any] = {
        "image/encoded": picture(number),
        "image/format": "jpeg",
        "image/source_id": str(number),
        "image/width": 80,
        "image/height": 60,
        **{f"image/object/bbox/{s}": [b[i] for b in boxes] for i, s in enumerate(sides)},
        "image/object/class/text": [NAMES[number % 2]] * len(boxes),
        "image/object/class/label": [1 + number % 2] * len(boxes),
        "image/object/is_crowd": [0] * len(boxes),
        "image/object/area": [float(100 + i) for i in range(len(boxes))],
    }
    return features | {f"image/{name}": value for name, value in changed.items()}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """20 + 5 good records in two files and one, with a spec."""
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.record-00000-of-00002", [record(i) for i in range(10)])
    write(folder / "train.record-00001-of-00002", [record(i) for i in range(10, 20)])
    write(folder / "val.record-00000-of-00001", [record(100 + i) for i in range(5)])
    items = (f'item {{ id: {i} name: "{name}" }}' for i, name in enumerate(NAMES, 1))
    (folder / "labels.pbtxt").write_text("\n".join(items))
    spec = tmp_path / "set.yaml"
    spec.write_text(
        "name: set\nrecipe: ssd_mobilenet_v2_fpnlite_320\n"
        "data:\n  dataset: custom\n  train: set/train.record-*\n  val: set/val.record-*\n"
        "  label_map: set/labels.pbtxt\n"
    )
    return spec


def write(path: Path, records: list[Any]) -> None:
    with RecordWriter(path) as writer:
        for one in records:
            writer.write(make_example(one))


@pytest.fixture
def bad(good: Path) -> Path:
    """The same with faults in train: one a record, those of val in its own."""
    folder = good.parent / "set"
    whole = (0.1, 0.1, 0.9, 0.9)
    second = folder / "train.record-00001-of-00002"
    records = [
        record(10, whole, (0.5, 0.5, 0.4, 0.9)),  # inverted
        record(11, (6.0, 8.0, 54.0, 72.0), (30.0, 20.0, 60.0, 80.0)),  # pixels
        record(12, whole, (0.2, 0.3, 0.2, 0.9)),  # no area
        record(13, encoded=b"<html>"),
        record(14, (0.1, 0.1, 1.03, 0.9)),  # sticks out
        record(15) | {"image/object/class/text": ["cow"]},
        record(16, width=60, height=80),  # turned
        record(17),  # its data is damaged below
        record(18, source_id=""),
        record(19, encoded=picture(102)),  # in val, too
        record(9),  # as in the first file
        record(20),
    ]
    write(second, records)
    offset = [one.offset for one in read_records(second)][7]
    content = bytearray(second.read_bytes())
    content[offset + 50] ^= 1
    second.write_bytes(bytes(content))
    first = folder / "val.record-00000-of-00001"
    write(first, [*(record(100 + i) for i in range(5)), record(105, source_id="100")])
    return good


@pytest.fixture(scope="session")
def launcher() -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit code, stdout, stderr."""
    from contextlib import redirect_stderr, redirect_stdout

    from launcher.cli.main import run

    def launcher(*argv: str | Path) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(list(map(str, argv)))
        return code, out.getvalue(), err.getvalue()

    return launcher
