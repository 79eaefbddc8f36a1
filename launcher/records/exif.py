"""How a viewer turns a picture, by its Exif mark. Training does not: TensorFlow ignores the mark.

Only what stands before the pixels is looked at: of a picture without the mark two or three
segments.
"""

import struct

from launcher.records.jpeg_tables import ADDITIONS

UPRIGHT = 1
"""The pixels are shown as they are stored. 2 to 8 turn or mirror them (Exif 2.3, table 4)."""
TURNED = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored upside down",
    5: "mirrored and turned by 270 degrees clockwise",
    6: "turned by 90 degrees clockwise",
    7: "mirrored and turned by 90 degrees clockwise",
    8: "turned by 270 degrees clockwise",
}

_APP1 = 0xE1
_EXIF = b"Exif\0\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_TAG, _SHORT = 0x0112, 3
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


def orientation(encoded: bytes) -> int:
    """1 to 8; UPRIGHT where there is no mark, or none that can be read."""
    if encoded[:2] == b"\xff\xd8":
        return _of_tiff(_in_jpeg(encoded))
    return _of_tiff(_in_png(encoded)) if encoded.startswith(_PNG) else UPRIGHT


def _in_jpeg(encoded: bytes) -> bytes:
    """The body of the Exif segment, which stands before all tables; empty without one."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF and encoded[at + 1] in ADDITIONS:
        end = at + 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        if encoded[at + 1] == _APP1 and encoded.startswith(_EXIF, at + 4):
            return encoded[at + 4 + len(_EXIF) : end]
        at = end
    return b""


def _in_png(encoded: bytes) -> bytes:
    """The data of the chunk eXIf, if it stands before the pixels."""
    at = len(_PNG)
    while at + 8 <= len(encoded):
        length, kind = int.from_bytes(encoded[at : at + 4], "big"), encoded[at + 4 : at + 8]
        if kind == b"eXIf":
            return encoded[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            break
        at += 12 + length
    return b""


def _of_tiff(data: bytes) -> int:
    """The tag of the first directory."""
    order = _ORDERS.get(data[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for entry in range(count):
            fields = struct.unpack_from(f"{order}HHIH", data, start + 2 + 12 * entry)
            if fields[:3] == (_TAG, _SHORT, 1):
                return fields[3] if fields[3] in TURNED else UPRIGHT
    except struct.error:  # cut, or it points behind its end
        pass
    return UPRIGHT
