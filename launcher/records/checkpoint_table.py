"""The names and shapes in a checkpoint's index, read without TensorFlow.

PREFIX.index is an SSTable as LevelDB has them (its doc/table_format.md): blocks of entries, an
index block of their places, and 48 bytes at the end that say where that is. A key is written as the
length that it shares with the one before and the rest. TensorFlow writes the index uncompressed;
an entry is a BundleEntryProto (tensor_bundle.proto).
"""

from collections.abc import Iterator
from pathlib import Path

_FOOTER = 48
_TRAILER = 5  # a block's kind of compression and its checksum
_LONGEST_VARINT = 10
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}  # kinds of a field, and the bytes of fixed ones


class _UnreadableError(Exception):
    """Not such a table, or compressed."""


def names(index: Path) -> list[str] | None:
    """The keys of `index`, as `model/_box_predictor/.../.ATTRIBUTES/VARIABLE_VALUE`.

    None when they cannot be read; the values are not looked at.
    """
    try:
        data = index.read_bytes()
        return [name for name, _ in _named(data)]
    except (OSError, _UnreadableError, UnicodeDecodeError):
        return None


def roots(index: Path) -> frozenset[str] | None:
    """The names below which the checkpoint's variables are, as `model` and `optimizer`."""
    found = names(index)
    if found is None:
        return None
    return frozenset(name.partition("/")[0] for name in found if "/.ATTRIBUTES/" in name)


def shapes(index: Path) -> dict[str, tuple[int, ...]]:
    """Of the variables, by their names in `index`; those that can be read."""
    found = {}
    try:
        for name, entry in _named(index.read_bytes()):
            try:
                found[name] = _shape(entry)
            except _UnreadableError:
                continue
    except (OSError, _UnreadableError, UnicodeDecodeError):
        return {}
    return found


def _shape(entry: bytes) -> tuple[int, ...]:
    """Field 2 is the shape, whose fields 2 are dimensions, whose field 1 is the size."""
    (shape, *_) = (*_fields(entry, 2), b"")
    dims = _fields(shape, 2) if isinstance(shape, bytes) else ()
    sizes = [_fields(dim, 1) if isinstance(dim, bytes) else () for dim in dims]
    return tuple(size[0] if size and isinstance(size[0], int) else 0 for size in sizes)


def _fields(message: bytes, wanted: int) -> list[int | bytes]:
    """The values of one field: numbers as they are, all else as bytes."""
    found: list[int | bytes] = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, at = _varint(message, at)
        else:
            size, at = _varint(message, at) if tag & 7 == _BYTES else (_FIXED.get(tag & 7), at)
            if size is None or at + size > len(message):
                raise _UnreadableError
            value, at = message[at : at + size], at + size
        if tag >> 3 == wanted:
            found.append(value)
    return found


def _named(data: bytes) -> Iterator[tuple[str, bytes]]:
    if len(data) < _FOOTER:
        raise _UnreadableError
    at = len(data) - _FOOTER
    _, at = _handle(data, at)  # of the metaindex
    place, _ = _handle(data, at)
    for _, value in _entries(_block(data, *place)):
        block, _ = _handle(value, 0)
        for key, entry in _entries(_block(data, *block)):
            if key:  # the first entry is the header
                yield key.decode(), entry


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
