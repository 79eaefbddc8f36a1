"""The table of damages: each is found, named and placed."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.records import (
    BadImageError,
    Example,
    examine,
    inspect,
    locate_damage,
    make_example,
    read_records,
)

TEXTS = {"square": 1, "circle": 2, "triangle": 3}
JPEG_MIDDLE = 300

# What is wrong, the features changed, and the message after file, record and source id.
DAMAGES: list[tuple[str, dict[str, Any], str]] = [
    ("no image", {"image/encoded": None}, "no image: image/encoded is missing or empty. Convert"),
    ("empty image", {"image/encoded": b""}, "no image: image/encoded is missing or empty. Convert"),
    ("no kind of image", {"image/encoded": b"<html>"}, "not an image: it begins with b'<html>'. R"),
    (
        "image of another kind",
        {"image/encoded": [3]},
        "image/encoded is a int64_list; the OD API reads a bytes_list. Convert",
    ),
    (
        "labels as text",
        {"image/object/class/label": ["1", "3"]},
        "image/object/class/label is a bytes_list; the OD API reads a int64_list. Convert",
    ),
    (
        "box outside",
        {"image/object/bbox/xmax": [0.5, 1.002]},
        "box 1 (ymin 0.5, xmin 0.25, ymax 1, xmax 1.002) is outside its image",
    ),
    (
        "box in pixels",
        {"image/object/bbox/ymax": [24.0, 48.0]},
        "box 0 (ymin 0, xmin 0, ymax 24, xmax 0.5) is outside its image",
    ),
    (
        "box below zero",
        {"image/object/bbox/xmin": [-0.01, 0.25]},
        "box 0 (ymin 0, xmin -0.01, ymax 0.5, xmax 0.5) is outside",
    ),
    (
        "no number",
        {"image/object/bbox/ymin": [float("nan"), 0.5]},
        "box 0 (ymin nan, xmin 0, ymax 0.5, xmax 0.5) is outside",
    ),
    (
        "inverted",
        {"image/object/bbox/xmin": [0.0, 1.0], "image/object/bbox/xmax": [0.5, 0.25]},
        "box 1 (ymin 0.5, xmin 1, ymax 1, xmax 0.25) is inverted",
    ),
    ("label 0", {"image/object/class/label": [1, 0]}, "label 0 of box 1 is not in 1..3. Train"),
    ("label 4", {"image/object/class/label": [4, 1]}, "label 4 of box 0 is not in 1..3. Train"),
    (
        "a label too few",
        {"image/object/class/label": [1]},
        "image/object/class/label has 1 values for 2 boxes. Convert",
    ),
    (
        "a side too few",
        {"image/object/bbox/ymax": [0.5]},
        "image/object/bbox/ymax has 1 values for 2 boxes. Convert",
    ),
    (
        "no labels",
        {"image/object/class/label": None, "image/object/class/text": None},
        "2 boxes have neither image/object/class/label nor image/object/class/text. Convert",
    ),
]

GOOD: list[tuple[str, dict[str, Any]]] = [
    ("as it is", {}),
    ("rounding", {"image/object/bbox/xmax": [0.5, 1.0005], "image/object/bbox/xmin": [-0.0005, 0]}),
    ("text only, as the OD API's converter writes", {"image/object/class/label": None}),
    ("label only", {"image/object/class/text": None}),
    ("no areas and crowds", {"image/object/area": None, "image/object/is_crowd": None}),
    ("no objects", {k: [] for k in (
        "image/object/bbox/xmin", "image/object/bbox/ymin", "image/object/bbox/xmax",
        "image/object/bbox/ymax", "image/object/class/label", "image/object/class/text",
        "image/object/area", "image/object/is_crowd",
    )}),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "said"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damage_is_found_and_placed(
    write: Callable[..., Path],
    features: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    said: str,
) -> None:
    path = write([features(), features() | {"image/source_id": "9"}, features(**changes)])
    # Only the third is bad, and the label map's texts are not asked.
    offset = list(read_records(path))[2].offset
    error = locate_damage([path], 3)
    assert error is not None
    place = f"{path}: record 2 at byte {offset}, source id 1296"
    assert error.problems[0].place == place
    assert (
        str(error)
        .removeprefix(f"{place}: ")
        .removeprefix("image/encoded is ")
        .startswith(said.removeprefix("image/encoded is "))
    )


@pytest.mark.parametrize("changes", [g[1] for g in GOOD], ids=[g[0] for g in GOOD])
@pytest.mark.parametrize("texts", [None, TEXTS])
def test_good_records_pass(
    write: Callable[..., Path],
    features: Callable[..., dict[str, Any]],
    changes: dict[str, Any],
    texts: dict[str, int] | None,
) -> None:
    seen: list[int] = []
    path = write([features(**changes)] * 2)
    assert locate_damage([path], 3, texts=texts, progress=seen.append) is None
    assert seen == [1, 1]


def test_no_source_id(write: Callable[..., Path], features: Callable[..., dict[str, Any]]) -> None:
    for id_ in ("", None):
        error = locate_damage([write([features(**{"image/source_id": id_})])], 3)
        assert error is not None
        assert ": record 0 at byte 0: no image/source_id: the evaluator" in str(error)


@pytest.mark.parametrize("data", [b"plain text, no protobuf", b"\x0a\x05ab", b""])
def test_a_record_that_is_no_example(write: Callable[..., Path], data: bytes) -> None:
    error = locate_damage([write([data])], 3)
    assert error is not None
    assert "record 0 at byte 0: not a tf.train.Example" in str(error)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_truncated_image(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes], kind: str
) -> None:
    whole = encoded(kind)
    assert examine_image(features, whole) is None
    assert "cannot be decoded" in (examine_image(features, whole[: len(whole) // 2]) or "")


def test_a_png_with_flipped_bits(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes]
) -> None:
    whole = encoded("PNG")
    checked = {"data": 60, "sum of the data": len(whole) - 14, "sum of the end": len(whole) - 1}
    for name, at in checked.items():
        flipped = bytearray(whole)
        flipped[at] ^= 1
        said = examine_image(features, bytes(flipped)) or ""
        assert "an image that cannot be decoded" in said, name


@pytest.mark.parametrize("lost", [1, 5, 12, 13])
def test_a_png_without_its_end(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes], lost: int
) -> None:
    said = examine_image(features, encoded("PNG")[:-lost])
    assert said == "image/encoded is an image that cannot be decoded (truncated PNG file)"


@pytest.mark.tensorflow
def test_tensorflow_refuses_what_we_refuse(encoded: Callable[..., bytes]) -> None:
    """Every file cut short or with one bit flipped: what passes here must decode there."""
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf

    for kind in ("JPEG", "PNG"):
        whole = encoded(kind)
        cut = [whole[:length] for length in range(len(whole) - 30, len(whole) + 1)]
        flipped = []
        for at in range(0, len(whole), 7):
            changed = bytearray(whole)
            changed[at] ^= 1 << at % 8
            flipped.append(bytes(changed))
        for content in cut + flipped:
            try:
                inspect(content)
            except BadImageError:
                continue
            tf.io.decode_image(content, expand_animations=False)


@pytest.mark.tensorflow
def test_tensorflow_reads_the_bmps_that_pass(encoded: Callable[..., bytes]) -> None:
    """With three channels, as the OD API asks for them; a palette's numbers for greys."""
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf

    def decode(content: bytes) -> Any:
        return tf.io.decode_image(content, channels=3, expand_animations=False)

    def right(content: bytes) -> bool:
        with Image.open(io.BytesIO(content)) as image:
            return np.array_equal(decode(content), np.asarray(image.convert("RGB")))

    for content in (encoded("BMP", mode="1"), with_a_palette()):
        with pytest.raises(BadImageError):
            inspect(content)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(encoded("BMP", mode="1"))
    assert not right(with_a_palette())
    for mode in ("RGB", "RGBA", "L"):
        whole = encoded("BMP", mode=mode)
        assert inspect(whole).format == "bmp"
        assert right(whole)


def with_a_palette() -> bytes:
    """A BMP file of 8 bits a pixel, in colours."""
    grey, file = Image.linear_gradient("L").resize((64, 48)), io.BytesIO()
    Image.merge("RGB", (grey, grey.rotate(180), grey)).convert("P").save(file, "BMP")
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_images_that_the_od_api_does_not_read(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes], kind: str
) -> None:
    said = examine_image(features, encoded(kind))
    assert said == f"image/encoded is a {kind} image; the OD API reads JPEG, PNG and BMP"


def bmp(encoded: Callable[..., bytes], **changed: int) -> bytes:
    """A whole BMP file of 24 bits a pixel whose header says something else."""
    content = bytearray(encoded("BMP"))
    places = {
        "bits": (28, 2),
        "compression": (30, 4),
        "red": (54, 4),
        "green": (58, 4),
        "blue": (62, 4),
    }
    for name, value in changed.items():
        at, size = places[name]
        content[at : at + size] = value.to_bytes(size, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("mode", "changed", "kind"),
    [
        ("1", {}, "of 1 bits a pixel"),
        ("P", {}, "with a palette of colours"),
        ("RGB", {"bits": 16}, "of 16 bits a pixel"),
        (
            "RGB",
            {"compression": 3, "red": 0xFF0000, "green": 0xFF00, "blue": 0xFF},
            "that is compressed",
        ),
    ],
)
def test_a_bmp_that_tensorflow_reads_otherwise(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes],
    mode: str, changed: dict[str, int], kind: str,
) -> None:  # fmt: skip
    content = bmp(encoded, **changed) if changed else encoded("BMP", mode=mode)
    if mode == "P":
        content = with_a_palette()
    assert examine_image(features, content) == (
        f"image/encoded is a BMP image {kind}; the OD API reads uncompressed ones of 24 or 32 "
        "bits, and grey ones: save it as PNG or JPEG"
    )


def test_a_bmp_with_the_header_of_os2(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes]
) -> None:
    """Its fields are of two bytes: TensorFlow takes other bytes for the size."""
    whole = encoded("BMP")
    width, height = whole[18:20], whole[22:24]
    head = whole[:10] + (26).to_bytes(4, "little") + (12).to_bytes(4, "little")
    content = head + width + height + b"\1\0\x18\0" + whole[54:]
    assert "a BMP image with OS/2's header of 12 bytes" in (examine_image(features, content) or "")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_print_colours_are_images(
    features: Callable[..., dict[str, Any]], encoded: Callable[..., bytes], mode: str
) -> None:
    assert examine_image(features, encoded("JPEG", mode=mode)) is None


def examine_image(features: Callable[..., dict[str, Any]], image: bytes) -> str | None:
    data = make_example(features(**{"image/encoded": image})).SerializeToString()
    damage = examine(data, 3)
    return damage.what if damage else None


def test_with_a_label_map_the_text_decides(features: Callable[..., dict[str, Any]]) -> None:
    def said(**changes: Any) -> str | None:
        damage = examine(make_example(features(**changes)).SerializeToString(), 3, TEXTS)
        return damage.what if damage else None

    assert said(**{"image/object/class/label": [77, 78]}) is None
    unknown = said(**{"image/object/class/text": ["square", "Dreieck"]})
    assert unknown == 'image/object/class/text "Dreieck" of box 1 is not in the label map'
    absent = said(**{"image/object/class/text": None, "image/object/class/label": [1, 9]})
    assert absent == "label 9 of box 1 is not in 1..3"


def test_framing_damage_in_a_later_file(
    write: Callable[..., Path], features: Callable[..., dict[str, Any]]
) -> None:
    good, bad = write([features()], "a"), write([features()] * 2, "b")
    bad.write_bytes(bad.read_bytes()[:-1])
    error = locate_damage([good, bad], 3)
    assert error is not None
    assert f"{bad}: record 1 at byte" in str(error)
    assert "truncated" in str(error)


def test_real_coco_images_pass(shared: Path, write: Callable[..., Path]) -> None:
    files = sorted((shared / "coco_tiny" / "val2017").glob("*.jpg"))[:20]
    path = write([{"image/encoded": f.read_bytes(), "image/source_id": f.stem} for f in files])
    assert locate_damage([path], 90) is None
    first = Example.FromString(next(iter(read_records(path))).data)
    assert first.features.feature["image/encoded"].bytes_list.value[0] == files[0].read_bytes()
