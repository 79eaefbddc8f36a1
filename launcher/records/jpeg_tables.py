"""The segments before a JPEG's scan: those that no decoder can object to.

The rules are libjpeg's (`jdmarker.c`, `jdhuff.c`), which TensorFlow and Pillow decode with, only
stricter: what is allowed but seldom is "not plain", and then the real decoder is asked. Fields are
numbered as in ITU-T T.81, Annex B.
"""

from collections.abc import Iterable

Segment = tuple[int, bytes]  # the marker's second byte, and the body behind its length

START_OF_SCAN = 0xDA
FRAMES = frozenset({0xC0, 0xC1})  # Huffman codes, and all of the image in one scan, or few
_HUFFMAN, _QUANTIZATION, _RESTART = 0xC4, 0xDB, 0xDD
TABLES = frozenset({_HUFFMAN, _QUANTIZATION, _RESTART})
_COMMENT = 0xFE
ADDITIONS = frozenset({*range(0xE0, 0xF0), _COMMENT})  # Exif and other applications' data

_HARMLESS = {
    0xE0: (b"JFIF\0", 14),
    0xE1: (b"XMP\0", 4),  # not Exif, which Pillow reads at once
    0xE2: (b"ICC_PROFILE\0", 14),
    _COMMENT: (b"", 0),
}
"""Additions that decoders skip or read without complaint: their first bytes and least length."""

_SAMPLINGS = frozenset({b"\x11", b"\x11\x11\x11", b"\x21\x11\x11", b"\x22\x11\x11"})
"""Samples of each component, 4:4:4, 4:2:2 and 4:2:0 for colours."""
_CODE_LENGTHS = 16
_MOST_CODES = 256
_MOST_DC_CATEGORY = 15


def are_plain(segments: Iterable[Segment]) -> bool:
    """Whether a decoder takes these segments, of an image of 8 bits and 1 or 3 components, for
    certain. The last one is the scan's header. No says nothing."""
    quantization, huffman = set[int](), set[int]()
    frame = b""
    for kind, body in segments:
        if kind == _HUFFMAN:
            good = _add_huffman(body, huffman)
        elif kind == _QUANTIZATION:
            good = _add_quantization(body, quantization)
        elif kind == _RESTART:
            good = len(body) == 2
        elif kind in FRAMES:
            frame = body
            good = len(body) == 6 + 3 * body[5]
        elif kind == START_OF_SCAN:
            return _fits(body, frame, quantization, huffman)
        else:
            first, least = _HARMLESS.get(kind, (b"", 1 << 16))
            good = len(body) >= least and body.startswith(first)
        if not good:
            return False
    return False


def _add_quantization(body: bytes, known: set[int]) -> bool:
    """Tables of 64 numbers of one byte, each behind its own number."""
    numbers = body[::65]
    known.update(numbers)
    return len(body) % 65 == 0 and max(numbers, default=0) < 4


def _add_huffman(body: bytes, known: set[int]) -> bool:
    """Tables: a number, how many codes there are of each length, and what each code means."""
    at = 0
    while at + 1 + _CODE_LENGTHS <= len(body):
        number, counts = body[at], body[at + 1 : at + 1 + _CODE_LENGTHS]
        at += 1 + _CODE_LENGTHS
        symbols = body[at : at + sum(counts)]
        at += sum(counts)
        is_dc = number < 0x10
        if number & 0x0F > 3 or number > 0x13 or at > len(body) or not _is_code(counts):
            return False
        if is_dc and max(symbols, default=0) > _MOST_DC_CATEGORY:
            return False
        known.add(number)
    return at == len(body)


def _is_code(counts: bytes) -> bool:
    """Whether so many codes of 1, 2, ... 16 bits exist, none the beginning of another, and none
    of ones only."""
    left = 1
    for count in counts:
        left = 2 * left - count
        if left < 1:
            return False
    return sum(counts) <= _MOST_CODES


def _fits(scan: bytes, frame: bytes, quantization: set[int], huffman: set[int]) -> bool:
    """The scan has all components of the frame in their order, and the tables that they name."""
    if not frame:
        return False
    count = frame[5]
    ids, sampling, tables = frame[6::3], frame[7::3], frame[8::3]
    if len(set(ids)) != count or sampling not in _SAMPLINGS or not quantization.issuperset(tables):
        return False
    if len(scan) != 4 + 2 * count or scan[0] != count or scan[1 : 1 + 2 * count : 2] != ids:
        return False
    for pair in scan[2 : 2 + 2 * count : 2]:
        if not huffman.issuperset({pair >> 4, 0x10 | pair & 0x0F}):
            return False
    return scan[1 + 2 * count :] == b"\0\x3f\0"  # from the first to the last coefficient, at once
