"""Val images with their boxes, drawn with Pillow (today's breaks the OD API's own drawing)."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageDraw, ImageFont

SMALL, LARGE = 256, 640  # pixels of the longer side of a drawn image: labels stay readable
MIN_SCORE = 0.3  # of a box that is shown
MAX_BOXES = 30  # in one image, the best ones
COLUMNS, TILE, GAP = 4, 320, 8  # of the contact sheet, in pixels
PAPER = (32, 32, 32)

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Shown:
    """A box to draw, in pixels of the original image; no score for ground truth."""

    x: float
    y: float
    width: float
    height: float
    category: int
    score: float | None = None


def color(category: int) -> Color:
    """One hue for each class, far from that of the next id (steps of the golden ratio)."""
    red, green, blue = colorsys.hsv_to_rgb(category * 0.618034 % 1.0, 0.85, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw(
    picture: Image.Image,
    truth: Sequence[Shown],
    predictions: Sequence[Shown],
    names: dict[int, str],
) -> Image.Image:
    """A copy, enlarged or reduced: ground truth thin and white, predictions in their class's
    colour with name and score.
    """
    scale = _scale(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Squares of pixels for a tiny image that is enlarged: it is shown as the model gets it.
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    drawn = picture.convert("RGB").resize(size, method)
    pen = ImageDraw.Draw(drawn)
    for box in truth:
        _rectangle(pen, box, scale, (255, 255, 255), width=1)
    best = sorted(predictions, key=lambda b: -(b.score or 0.0))
    best = [b for b in best if (b.score or 0.0) >= MIN_SCORE][:MAX_BOXES]
    for box in reversed(best):  # the best one on top
        _rectangle(pen, box, scale, color(box.category), width=2)
    for box in reversed(best):
        name = names.get(box.category, str(box.category))
        _label(pen, box, scale, f"{name} {box.score:.2f}", drawn.size)
    return drawn


def contact_sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """The pictures in rows of COLUMNS, each within TILE x TILE pixels."""
    columns = max(1, min(COLUMNS, len(pictures)))
    rows = max(1, -(-len(pictures) // columns))
    step = TILE + GAP
    sheet = Image.new("RGB", (columns * step + GAP, rows * step + GAP), PAPER)
    for number, picture in enumerate(pictures):
        tile = picture.copy()
        tile.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        row, column = divmod(number, columns)
        left = GAP + column * step + (TILE - tile.width) // 2
        top = GAP + row * step + (TILE - tile.height) // 2
        sheet.paste(tile, (left, top))
    return sheet


def _scale(size: tuple[int, int]) -> float:
    longer = max(size)
    if longer < SMALL:
        return float(-(-SMALL // longer))
    return min(1.0, LARGE / longer)


def _rectangle(pen: ImageDraw.ImageDraw, box: Shown, scale: float, ink: Color, width: int) -> None:
    left, top = box.x * scale, box.y * scale
    right, bottom = left + max(0.0, box.width) * scale, top + max(0.0, box.height) * scale
    # A dark line around it, so that a bright box is seen on a bright background.
    pen.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0), width=1)
    pen.rectangle((left, top, right, bottom), outline=ink, width=width)


def _label(
    pen: ImageDraw.ImageDraw, box: Shown, scale: float, text: str, size: tuple[int, int]
) -> None:
    font: Any = ImageFont.load_default(size=12)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0.0, box.x * scale), max(0.0, size[0] - width))
    above = box.y * scale - height
    y = above if above >= 0 else min(box.y * scale, max(0.0, size[1] - height))
    ink = color(box.category)
    dark = 0.299 * ink[0] + 0.587 * ink[1] + 0.114 * ink[2] < 110  # luma of BT.601
    pen.rectangle((x, y, x + width, y + height), fill=ink)
    pen.text((x + 2 - left, y + 2 - top), text, font=font, fill="white" if dark else "black")
