"""The images of the synthetic set: coloured shapes on a noisy background, with exact boxes."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Generator = np.random.Generator

CLASSES = {1: "square", 2: "circle", 3: "triangle"}
BACKGROUNDS = ("flat", "patchy")

MAX_OBJECTS = 4
SIDES = (0.16, 0.46)  # an object's side as a part of the image's: 20 to 59 px of 128
MAX_OVERLAP = 0.1  # of the smaller one's box
NOISE = 6.0  # standard deviation of the background's noise, in grey levels
PATCHES = 24
PLACE_TRIES = 50
COLOUR_TRIES = 8

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
"""xmin, ymin, xmax, ymax in pixels; the maxima are the first pixels outside."""


@dataclass(frozen=True)
class Drawn:
    """One object: its tight box and its number of pixels, those below a later object included."""

    label: int
    box: Box
    area: int


def draw(rng: "Generator", size: int, background: str) -> tuple["Image", list[Drawn]]:
    """An image of `size` x `size` pixels with one to four objects."""
    from PIL import Image

    patches = PATCHES if background == "patchy" else 0
    image, behind = _background(rng, size, patches)
    objects: list[Drawn] = []
    for _ in range(int(rng.integers(1, MAX_OBJECTS + 1))):
        box = _free_box(rng, size, [drawn.box for drawn in objects])
        if box is None:
            continue
        label = int(rng.integers(1, len(CLASSES) + 1))
        mask = Image.new("L", (size, size))
        _draw_shape(mask, label, box)
        image.paste(_vivid_colour(rng, behind), (0, 0, size, size), mask)
        tight = mask.getbbox()
        if tight is None:
            raise AssertionError(f"nothing was drawn in {box}")
        objects.append(Drawn(label, tight, mask.histogram()[255]))
    return image, objects


def overlap(a: Box, b: Box) -> float:
    """The common area as a part of the smaller box's."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))


def _background(rng: "Generator", size: int, patches: int) -> tuple["Image", list[Colour]]:
    """A muted colour under `patches` rectangles of others, with noise; and the colours."""
    import numpy as np
    from PIL import Image

    colours = [_muted_colour(rng) for _ in range(1 + patches)]
    image = Image.new("RGB", (size, size), colours[0])
    for colour in colours[1:]:
        width, height = (int(side) for side in rng.integers(size // 8, size // 2, 2))
        x, y = (int(v) for v in rng.integers(-size // 8, size, 2))
        image.paste(colour, (x, y, x + width, y + height))
    noise = rng.normal(0.0, NOISE, (size, size, 3))
    pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels), colours


def _free_box(rng: "Generator", size: int, taken: Sequence[Box]) -> Box | None:
    """A square inside the image that hardly covers another, or None when the image is full."""
    for _ in range(PLACE_TRIES):
        side = round(rng.uniform(*SIDES) * size)
        x, y = (int(v) for v in rng.integers(0, size - side + 1, 2))
        box = (x, y, x + side, y + side)
        if all(overlap(box, other) <= MAX_OVERLAP for other in taken):
            return box
    return None


def _draw_shape(mask: "Image", label: int, box: Box) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(mask)
    xmin, ymin, xmax, ymax = box[0], box[1], box[2] - 1, box[3] - 1  # Pillow draws the last pixel
    name = CLASSES[label]
    if name == "square":
        pen.rectangle((xmin, ymin, xmax, ymax), fill=255)
    elif name == "circle":
        pen.ellipse((xmin, ymin, xmax, ymax), fill=255)
    else:
        pen.polygon(((xmin + xmax) / 2, ymin, xmax, ymax, xmin, ymax), fill=255)


def _muted_colour(rng: "Generator") -> Colour:
    return _rgb(rng.random(), rng.uniform(0.0, 0.25), rng.uniform(0.2, 0.85))


def _vivid_colour(rng: "Generator", behind: Sequence[Colour]) -> Colour:
    """Of a few saturated colours the one that differs most from all those behind it."""
    candidates = [
        _rgb(rng.random(), rng.uniform(0.85, 1.0), rng.uniform(0.8, 1.0))
        for _ in range(COLOUR_TRIES)
    ]
    return max(candidates, key=lambda c: min(_distance(c, other) for other in behind))


def _distance(a: Colour, b: Colour) -> int:
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True))


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    r, g, b = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, saturation, value))
    return r, g, b
