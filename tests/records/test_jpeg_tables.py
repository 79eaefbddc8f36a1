"""Which segments pass without a decoder: ordinary ones do, and nothing else does."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.records.jpeg import _head
from launcher.records.jpeg_tables import Segment, are_plain

HUFFMAN, QUANTIZATION, FRAME, SCAN, RESTART, JFIF = 0xC4, 0xDB, 0xC0, 0xDA, 0xDD, 0xE0
ALL_ONES = bytes((0x00, 2, *[0] * 15, 0, 1))  # two codes of one bit
DC_CATEGORY_16 = bytes((0x00, 1, *[0] * 15, 16))
A_CODE = bytes((1, *[0] * 15, 5))


def segments(mode: str = "RGB", **options: Any) -> list[Segment]:
    file = io.BytesIO()
    Image.effect_noise((48, 40), 60).convert(mode).save(file, "JPEG", **options)
    head = _head(file.getvalue())
    assert head is not None
    return list(head.segments)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "L"},
        {"optimize": True, "quality": 97},
        {"subsampling": 0},
        {"subsampling": 1},
        {"restart_marker_blocks": 2, "comment": b"by hand", "icc_profile": bytes(300)},
    ],
)
def test_ordinary_ones(options: dict[str, Any]) -> None:
    assert are_plain(segments(**options))


def test_most_of_coco_needs_no_decoder(shared: Path) -> None:
    heads = [_head(path.read_bytes()) for path in (shared / "coco_tiny").glob("*/*.jpg")]
    plain = [head for head in heads if head is not None and are_plain(head.segments)]
    assert len(heads) == 160
    assert len(plain) > 130


def without(kind: int) -> Callable[[list[Segment]], list[Segment]]:
    return lambda some: [segment for segment in some if segment[0] != kind]


def put(kind: int, change: Callable[[bytes], bytes]) -> Callable[[list[Segment]], list[Segment]]:
    """The first segment of a kind, changed."""

    def changed(some: list[Segment]) -> list[Segment]:
        at = next(i for i, segment in enumerate(some) if segment[0] == kind)
        return [*some[:at], (kind, change(some[at][1])), *some[at + 1 :]]

    return changed


def first(*segment: Segment) -> Callable[[list[Segment]], list[Segment]]:
    return lambda some: [*segment, *some]


def at(index: int, value: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:index] + bytes((value,)) + body[index:][1:]


@pytest.mark.parametrize(
    "change",
    [
        without(HUFFMAN),
        without(QUANTIZATION),
        without(FRAME),
        without(SCAN),
        put(HUFFMAN, lambda body: body[:-1]),
        put(HUFFMAN, lambda body: body + b"\0"),
        first((HUFFMAN, ALL_ONES)),
        first((HUFFMAN, DC_CATEGORY_16)),
        first((HUFFMAN, b"\x04" + A_CODE)),
        first((HUFFMAN, b"\x20" + A_CODE)),
        put(QUANTIZATION, lambda body: body[:-1]),
        put(QUANTIZATION, at(0, 4)),
        put(QUANTIZATION, at(0, 0x10)),
        first((RESTART, b"\0\0\1")),
        put(FRAME, lambda body: body + b"\0"),
        put(FRAME, at(7, 0x31)),  # sampling
        put(FRAME, at(8, 3)),  # a quantization table that is not there
        put(FRAME, at(9, 1)),  # the second component under the first one's name
        put(SCAN, at(1, 9)),  # a component that is not there
        put(SCAN, at(2, 0x30)),  # a table that is not there
        put(SCAN, at(8, 62)),  # not up to the last coefficient
        put(SCAN, lambda body: body + b"\0"),
        put(JFIF, lambda body: body[:13]),
        first((0xE1, b"Exif\0\0")),
        first((0xEE, b"Adobe")),
    ],
)
def test_what_the_decoder_is_asked_about(
    change: Callable[[list[Segment]], list[Segment]],
) -> None:
    before = segments()
    assert are_plain(before)
    assert not are_plain(change(before))


def test_an_unused_harmless_table() -> None:
    assert are_plain(first((HUFFMAN, b"\x03" + A_CODE))(segments()))
