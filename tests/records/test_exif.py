"""The Exif mark that turns a picture for viewers: found whatever the bytes are."""

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from launcher.records.exif import TURNED, UPRIGHT, orientation

TAG = 0x0112


def marked(kind: str, turn: int | None) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera"  # another tag before it
    if turn is not None:
        exif[TAG] = turn
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, kind, exif=exif)
    return file.getvalue()


def big_endian(turn: int) -> bytes:
    """A JPEG whose mark stands behind another segment, in the other order of bytes."""
    entry = struct.pack(">HHIHH", TAG, 3, 1, turn, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    xmp = b"\xff\xe1" + struct.pack(">H", 2 + 29) + b"http://ns.adobe.com/xap/1.0/\0"
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(file, "JPEG")
    start, table, rest = file.getvalue().partition(b"\xff\xdb")
    return start + xmp + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + table + rest


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("turn", [None, *range(1, 9)])
def test_every_mark_is_found(kind: str, turn: int | None) -> None:
    content = marked(kind, turn)
    assert orientation(content) == (turn or UPRIGHT)
    assert (orientation(content) in TURNED) == (turn not in (None, 1))


def test_other_segments_before_it_and_the_other_order_of_bytes() -> None:
    assert [orientation(big_endian(turn)) for turn in (3, 8)] == [3, 8]


def test_what_is_no_turn() -> None:
    plain = io.BytesIO()
    Image.new("RGB", (8, 6)).save(plain, "JPEG")
    strange = [marked("JPEG", 0), marked("JPEG", 9)]
    for content in (b"", b"BM", b"\xff\xd8", plain.getvalue(), *strange):
        assert orientation(content) == UPRIGHT


@given(st.data())
def test_damaged_bytes_never_crash(data: st.DataObject) -> None:
    content = bytearray(marked(data.draw(st.sampled_from(["JPEG", "PNG"])), 6))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    assert orientation(bytes(content)) in {UPRIGHT, *TURNED}


def test_coco_has_none(shared: Path) -> None:
    files = list((shared / "coco_tiny" / "val2017").glob("*.jpg"))
    assert files
    assert all(orientation(file.read_bytes()) == UPRIGHT for file in files)
