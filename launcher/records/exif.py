"""How a viewer turns a picture, by its Exif mark. Training ignores it, as TensorFlow does."""

import contextlib
import io
import warnings

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

_MARKS = (b"Exif\0\0", b"eXIf")
"""Of a JPEG's segment and of a PNG's chunk: few pictures have one, and Pillow is slow to open."""
_HEAD = 4_096
"""Bytes in which a mark begins: a JPEG's is its first segment but JFIF's (Exif 2.3, 4.5.4)."""


def orientation(encoded: bytes) -> int:
    """1 to 8; UPRIGHT where there is no mark, or none that can be read."""
    head = encoded[:_HEAD]
    if not any(mark in head for mark in _MARKS):
        return UPRIGHT
    from PIL import ExifTags, Image

    # Pillow's readers raise and warn whatever broken bytes lead them to (records/image.py).
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
        with Image.open(io.BytesIO(encoded)) as image:
            turn = image.getexif().get(ExifTags.Base.Orientation)
        return turn if turn in TURNED else UPRIGHT
    return UPRIGHT
