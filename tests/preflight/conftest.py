"""A small data set on disk to check: good records, any of which a test may spoil."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from launcher.planning import Plan, make_plan
from launcher.preflight import Finding, data_findings
from launcher.preflight.data import DataFindings
from launcher.records import RecordWriter, make_example, shard_name
from launcher.spec import from_mapping

NAMES = ("cat", "dog", "hen")


def picture(
    number: int,
    kind: str = "JPEG",
    mode: str = "RGB",
    size: tuple[int, int] = (64, 48),
    orientation: int | None = None,
) -> bytes:
    """No two numbers give the same."""
    pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).resize(size).convert(mode).save(file, kind, exif=exif)
    return file.getvalue()


def record(number: int, **changed: Any) -> dict[str, Any]:
    """Two objects of 32 x 24 and 32 x 12 px. `changed` replaces features, None takes one away; two
    underscores stand for a slash."""
    features: dict[str, Any] = {
        "image/encoded": picture(number),
        "image/format": "jpeg",
        "image/source_id": str(number),
        "image/height": 48,
        "image/width": 64,
        "image/object/bbox/xmin": [0.0, 0.25],
        "image/object/bbox/ymin": [0.0, 0.5],
        "image/object/bbox/xmax": [0.5, 0.75],
        "image/object/bbox/ymax": [0.5, 0.75],
        "image/object/class/label": [1 + number % 3, 2],
        "image/object/class/text": [NAMES[number % 3], "dog"],
        "image/object/is_crowd": [0, 0],
    }
    features |= {f"image/{name.replace('__', '/')}": value for name, value in changed.items()}
    return {name: value for name, value in features.items() if value is not None}


@dataclass
class DataSet:
    """Train: 4 files of 5 records, val: 2 of 3. `records` may be changed, then `write` again."""

    folder: Path
    records: dict[str, list[list[Any]]] = field(default_factory=dict)
    named: dict[str, Any] = field(default_factory=dict)
    recipe: str = "ssd_mobilenet_v2_fpnlite_320"

    def write(self) -> "DataSet":
        self.folder.mkdir(exist_ok=True)
        for prefix, shards in self.records.items():
            for index, records in enumerate(shards):
                with RecordWriter(self.path(prefix, index)) as writer:
                    for one in records:
                        writer.write(make_example(one) if isinstance(one, dict) else one)
        self.labels(*NAMES)
        return self

    def path(self, prefix: str, index: int) -> Path:
        return self.folder / shard_name(prefix, index, len(self.records[prefix]))

    def labels(self, *names: str, first: int = 1) -> None:
        items = (f'item {{ id: {i} name: "{name}" }}' for i, name in enumerate(names, first))
        (self.folder / "labels.pbtxt").write_text("\n".join(items))

    def plan(self, **changed: Any) -> Plan:
        data = {
            "train": str(self.folder / "train.record-*"),
            "val": str(self.folder / "val.record-*"),
            "label_map": str(self.folder / "labels.pbtxt"),
            "dataset": "custom",
        }
        workers = changed.pop("workers", 1)
        values = {
            "name": "x",
            "recipe": self.recipe,
            "data": data | self.named | changed,
            "cluster": {"workers": workers},
        }
        return make_plan(from_mapping(values, folder=self.folder))

    def check(self, *, sample: int = 500, full: bool = False, **changed: Any) -> DataFindings:
        return data_findings(self.plan(**changed), sample=sample, full=full, progress=False)

    def find(self, name: str, **changed: Any) -> list[Finding]:
        """What a check of this name finds, its everyday remarks on anchors and sizes left out."""
        return [f for f in self.check(**changed).findings if f.name == name and _is_news(f)]


def _is_news(finding: Finding) -> bool:
    usual = ("have no anchor over", "are enlarged more than")
    return not any(text in finding.evidence for text in usual)


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    train = [[record(100 + 10 * shard + i) for i in range(5)] for shard in range(4)]
    val = [[record(200 + 10 * shard + i) for i in range(3)] for shard in range(2)]
    return DataSet(tmp_path / "data", {"train": train, "val": val}).write()


@pytest.fixture(scope="session")
def make_record() -> Callable[..., dict[str, Any]]:
    return record


@pytest.fixture(scope="session")
def make_picture() -> Callable[..., bytes]:
    return picture
