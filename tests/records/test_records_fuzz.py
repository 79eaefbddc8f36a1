"""Whatever happens to a file's bytes: a DataError, or the records as they were. Nothing else."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from launcher.errors import DataError
from launcher.records import examine, frame, locate_damage, make_example, read_records

RECORDS = [b"", b"a", bytes(range(256)) * 3, b"the last"]
FILE = b"".join(map(frame, RECORDS))
FUZZ = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

flips = st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), max_size=8)


@FUZZ
@given(flips=flips, keep=st.integers(0, len(FILE)), tail=st.binary(max_size=40))
def test_flipped_cut_or_lengthened_files(
    tmp_path: Path, flips: list[tuple[int, int]], keep: int, tail: bytes
) -> None:
    content = bytearray(FILE)
    for at, value in flips:
        content[at] = value
    path = tmp_path / "fuzzed"
    path.write_bytes(bytes(content[:keep]) + tail)
    read, error = [], ""
    try:
        for record in read_records(path):
            read.append(record.data)
    except DataError as e:
        error = str(e)
    assert read == RECORDS[: len(read)]
    assert str(path) in error or path.read_bytes() == FILE[: path.stat().st_size]


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes_as_a_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzzed"
    path.write_bytes(content)
    if content:
        assert isinstance(locate_damage([path], 3), DataError)


@FUZZ
@given(data=st.binary(max_size=300))
def test_any_bytes_as_an_example(data: bytes) -> None:
    assert examine(data, 3) is not None


def example_bytes() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    features: dict[str, Any] = {f"image/object/bbox/{s}": [0.0] for s in ("xmin", "ymin")}
    features |= {f"image/object/bbox/{s}": [1.0] for s in ("xmax", "ymax")}
    features |= {"image/encoded": file.getvalue(), "image/source_id": "1"}
    features["image/object/class/label"] = [1]
    data: bytes = make_example(features).SerializeToString(deterministic=True)
    return data


@FUZZ
@given(data=st.data())
def test_a_real_example_with_changed_bytes_never_crashes(data: st.DataObject) -> None:
    content = bytearray(example_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damage = examine(bytes(content), 3)
    assert damage is None or damage.what


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@FUZZ
@given(data=st.data())
def test_an_image_with_changed_bytes_never_crashes(
    kind: str, data: st.DataObject, encoded: Callable[..., bytes]
) -> None:
    content = bytearray(encoded(kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    record = make_example({"image/encoded": bytes(content), "image/source_id": "1"})
    damage = examine(record.SerializeToString(), 3)
    assert damage is None or "image/encoded is" in damage.what
