"""Small record files with real images in them."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.records import RecordWriter, make_example


def _encoded(kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert(mode).save(file, kind)
    return file.getvalue()


def _features(**changed: Any) -> dict[str, Any]:
    """A good record with two boxes; `changed` replaces features, None takes one away."""
    features: dict[str, Any] = {
        "image/encoded": _encoded(),
        "image/format": "jpeg",
        "image/source_id": "1296",
        "image/height": 48,
        "image/width": 64,
        "image/object/bbox/xmin": [0.0, 0.25],
        "image/object/bbox/ymin": [0.0, 0.5],
        "image/object/bbox/xmax": [0.5, 1.0],
        "image/object/bbox/ymax": [0.5, 1.0],
        "image/object/class/label": [1, 3],
        "image/object/class/text": ["square", "triangle"],
        "image/object/is_crowd": [0, 1],
        "image/object/area": [768.0, 900.0],
    }
    features |= changed
    return {name: value for name, value in features.items() if value is not None}


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    return _encoded


@pytest.fixture(scope="session")
def features() -> Callable[..., dict[str, Any]]:
    return _features


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Sequence[Any]], Path]:
    def write(records: Sequence[Any], name: str = "train.record-00000-of-00001") -> Path:
        with RecordWriter(tmp_path / name) as writer:
            for record in records:
                writer.write(make_example(record) if isinstance(record, dict) else record)
        return tmp_path / name

    return write
