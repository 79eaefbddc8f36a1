"""Encoded images: what the OD API's decoder will accept, and what is wrong with the others."""

import io
import struct
import zlib
from dataclasses import dataclass

from launcher.errors import MissingExtraError
from launcher.records.jpeg import whole_jpeg

# Pillow's format names to the OD API's image/format. MPO is a JPEG with more pictures behind it.
# tf.io.decode_image reads GIF too, but as a film, which the OD API's decoder refuses.
FORMATS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "BMP": "bmp"}

_SHOWN_BYTES = 16
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = struct.Struct(">I4s")  # length of the data, name; behind the data its CRC-32
_BMP_HEADER = struct.Struct("<I10xHI")  # at 14: its size; at 28: bits a pixel, compression
_BMP_HEADER_AT, _BMP_HEADER_SIZE = 14, 40
_BMP_BITS, _BMP_GREY_BITS = (24, 32), 8


@dataclass(frozen=True)
class ImageInfo:
    """Size in pixels as stored (an EXIF rotation is not applied: the OD API ignores it too)."""

    width: int
    height: int
    format: str  # jpeg | png | bmp


class BadImageError(Exception):
    """Not an image that can be decoded whole. The message says why, without the file's name."""


def inspect(encoded: bytes) -> ImageInfo:
    """Finds out that the whole image can be decoded, or decodes it.

    Raises BadImageError; MissingExtraError without Pillow.
    """
    require_pillow()
    if size := whole_jpeg(encoded):
        return ImageInfo(*size, "jpeg")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(encoded)) as image:
            found = image.format or "unknown"
            if found not in FORMATS:
                raise BadImageError(f"a {found} image; the OD API reads JPEG, PNG and BMP")
            if found == "BMP":
                _check_bmp(encoded, image.mode)
            image.load()
            if found == "PNG":
                _check_png(encoded)
            return ImageInfo(image.width, image.height, FORMATS[found])
    except BadImageError:
        raise
    except UnidentifiedImageError:
        raise BadImageError(f"not an image: it begins with {encoded[:_SHOWN_BYTES]!r}") from None
    # Pillow's readers raise whatever broken bytes lead them to (OSError, SyntaxError, ValueError,
    # struct.error, DecompressionBombError, ...), without a common base.
    except Exception as e:
        raise BadImageError(f"an image that cannot be decoded ({e})") from None


def _check_png(encoded: bytes) -> None:
    """The sums of all chunks up to the last. TensorFlow's libpng insists on them, Pillow does not.

    Only of critical chunks, whose names begin with a capital letter: of the others libpng drops
    a damaged one. Raises BadImageError.
    """
    start, kind = len(_PNG_SIGNATURE), b""
    while kind != b"IEND":
        head = encoded[start : start + _PNG_CHUNK.size]
        length, kind = _PNG_CHUNK.unpack(head) if len(head) == _PNG_CHUNK.size else (0, b"?")
        end = start + _PNG_CHUNK.size + length
        stored = encoded[end : end + 4]
        if len(stored) < 4:
            raise BadImageError("an image that cannot be decoded (truncated PNG file)")
        computed = zlib.crc32(encoded[start + 4 : end])
        if kind[:1].isupper() and computed != int.from_bytes(stored, "big"):
            name = kind.decode("ascii", errors="replace")
            raise BadImageError(f"an image that cannot be decoded (damaged PNG chunk {name})")
        start = end + 4


def _check_bmp(encoded: bytes, mode: str) -> None:
    """TensorFlow looks for sizes where a header of 40 bytes has them, takes the pixels for
    uncompressed, and those of 8 bits for grey: it trains on a palette's numbers without a word.

    `mode` is Pillow's, which is L for a palette that is the grey one. Raises BadImageError.
    """
    size, bits, compression = _BMP_HEADER.unpack_from(encoded, _BMP_HEADER_AT)
    if size < _BMP_HEADER_SIZE:
        kind = f"with OS/2's header of {size} bytes"
    elif bits == _BMP_GREY_BITS and mode != "L":
        kind = "with a palette of colours"
    elif bits not in (*_BMP_BITS, _BMP_GREY_BITS):
        kind = f"of {bits} bits a pixel"
    elif compression:
        kind = "that is compressed"
    else:
        return
    raise BadImageError(
        f"a BMP image {kind}; the OD API reads uncompressed ones of 24 or 32 bits, and grey ones: "
        "save it as PNG or JPEG"
    )


def require_pillow() -> None:
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "Pillow, which reads images, is not installed", remedy="pip install 'launcher[train]'"
        ) from None
