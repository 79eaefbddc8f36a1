"""A JPEG that passes as whole is one that the decoder takes whole, however it was damaged."""

import io
import random
import time
from collections import Counter
from typing import Any

import pytest
from PIL import Image

from launcher.records.jpeg import whole_jpeg


def picture(size: tuple[int, int] = (96, 72), mode: str = "RGB", **options: Any) -> bytes:
    noise = Image.effect_noise(size, 60).convert(mode)
    file = io.BytesIO()
    noise.save(file, "JPEG", **options)
    return file.getvalue()


def decoded(encoded: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            return image.size
    except Exception:
        return None


@pytest.mark.parametrize(
    "encoded",
    [
        picture(),
        picture(mode="L"),
        picture((7, 300), subsampling=0),
        picture((1, 1)),
        picture(quality=99, optimize=True),
        picture(restart_marker_blocks=3),
        picture(exif=Image.Exif().tobytes(), comment=b"\xff\xd9", icc_profile=b"\xff\xda" * 900),
        picture() + b"what a camera leaves behind",
    ],
)
def test_whole_ones(encoded: bytes) -> None:
    assert whole_jpeg(encoded) == decoded(encoded) is not None


@pytest.mark.parametrize(
    "encoded",
    [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", picture(progressive=True), picture(mode="CMYK")],
)
def test_what_the_decoder_has_to_decide(encoded: bytes) -> None:
    assert whole_jpeg(encoded) is None


def test_every_length_of_a_file_that_is_cut() -> None:
    encoded = picture((32, 24))
    for length in range(len(encoded)):
        assert whole_jpeg(encoded[:length]) is None
    assert whole_jpeg(encoded) == (32, 24)


def test_a_huge_size_is_the_decoders_to_refuse() -> None:
    encoded = bytearray(picture())
    frame = encoded.index(b"\xff\xc0")
    encoded[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    assert whole_jpeg(bytes(encoded)) is None


def damaged(rng: random.Random, encoded: bytes) -> bytes:
    content = bytearray(encoded)
    scan = content.index(b"\xff\xda")
    at, to = rng.randrange(2, scan + 14), rng.randrange(scan + 14, len(content) - 2)
    for _ in range(rng.choice([1, 1, 2])):
        match rng.randrange(8):
            case 0:
                content[at] = rng.randrange(256)  # in headers and tables
            case 1:
                content[at] ^= 1 << rng.randrange(8)
            case 2:
                content[at:at] = content[at : at + rng.randrange(1, 20)]
            case 3:
                del content[at : at + rng.randrange(1, 20)]
            case 4:
                content[to : to + 2] = bytes((0xFF, rng.randrange(256)))  # a marker in the scan
            case 5:
                content[to : to + 64] = bytes(64)
            case 6:
                del content[to : to + rng.randrange(1, 200)]
            case _:
                content[to:] = rng.choice([b"", b"\xff", b"\xff\xd9"])
        to = min(to, len(content) - 1)
    return bytes(content)


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damaged Exif data
def test_nothing_passes_that_the_decoder_refuses() -> None:
    rng = random.Random(7)
    good = [
        picture(),
        picture(mode="L", exif=Image.Exif().tobytes()),
        picture(restart_marker_blocks=2, optimize=True),
    ]
    seen: Counter[tuple[bool, bool]] = Counter()
    for _ in range(3000):
        content = damaged(rng, rng.choice(good))
        size, right = whole_jpeg(content), decoded(content)
        assert size in (None, right), content.hex()
        seen[size is not None, right is not None] += 1
    assert seen[True, True] > 500  # damage within the scan, which decoders let pass
    assert seen[False, False] > 500


def test_it_is_faster_than_the_decoder() -> None:
    encoded = picture((640, 480))

    def seconds(check: Any) -> float:
        times = []
        for _ in range(9):
            began = time.thread_time()
            check(encoded)
            times.append(time.thread_time() - began)
        return min(times)

    assert seconds(whole_jpeg) < seconds(decoded) / 3  # a tenth, measured
