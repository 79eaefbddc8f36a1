"""The names in a checkpoint's index, read without TensorFlow.

PREFIX.index is an SSTable as LevelDB has them (its doc/table_format.md): blocks of entries, an
index block of their places, and 48 bytes at the end that say where that is. A key is written as the
length that it shares with the one before and the rest. TensorFlow writes the index uncompressed.
"""

from collections.abc import Iterator
from pathlib import Path

_FOOTER = 48
_TRAILER = 5  # a block's kind of compression and its checksum
_LONGEST_VARINT = 10


class _UnreadableError(Exception):
    """Not such a table, or compressed."""


def names(index: Path) -> list[str] | None:
    """The keys of `index`, as `model/_box_predictor/.../.ATTRIBUTES/VARIABLE_VALUE`.

    None when they cannot be read; the values are not looked at.
    """
    try:
        data = index.read_bytes()
        return list(_names(data))
    except (OSError, _UnreadableError, UnicodeDecodeError):
        return None


def roots(index: Path) -> frozenset[str] | None:
    """The names below which the checkpoint's variables are, as `model` and `optimizer`."""
    found = names(index)
    if found is None:
        return None
    return frozenset(name.partition("/")[0] for name in found if "/.ATTRIBUTES/" in name)


def _names(data: bytes) -> Iterator[str]:
    if len(data) < _FOOTER:
        raise _UnreadableError
    at = len(data) - _FOOTER
    _, at = _handle(data, at)  # of the metaindex
    place, _ = _handle(data, at)
    for _, value in _entries(_block(data, *place)):
        block, _ = _handle(value, 0)
        for key, _ in _entries(_block(data, *block)):
            if key:  # the first entry is the header
                yield key.decode()


def _block(data: bytes, offset: int, size: int) -> bytes:
    end = offset + size
    if end + _TRAILER > len(data) or data[end] != 0:
        raise _UnreadableError
    return data[offset:end]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """A block ends with its restart points, 4 bytes each, and their number."""
    if len(block) < 4:
        raise _UnreadableError
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        rest, at = _varint(block, at)
        size, at = _varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise _UnreadableError
        key = key[:shared] + block[at : at + rest]
        yield key, block[at + rest : at + rest + size]
        at += rest + size


def _handle(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _varint(data, at)
    size, at = _varint(data, at)
    return (offset, size), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Seven bits a byte, the lowest first; and where it ends."""
    value = 0
    for i in range(_LONGEST_VARINT):
        if at + i >= len(data):
            break
        value |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return value, at + i + 1
    raise _UnreadableError
