"""Drawing for `launcher data view`: boxes on pictures, rows of them as PNG, all as one page."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from launcher.evaluate.pictures import Color, color
from launcher.storage import write_text

TILE, GAP, CAPTION = 384, 8, 18
PAPER, INK, UNMATCHED = (250, 250, 250), (30, 30, 30), (220, 0, 0)
_QUALITY = 85


@dataclass(frozen=True)
class Box:
    """`sides` are [ymin, xmin, ymax, xmax] in parts of the picture. `matched` False: no anchor fits
    it; it is marked."""

    sides: Sequence[float]
    name: str
    label: int
    matched: bool = True


@dataclass
class Row:
    """One record: its pictures from left to right, with boxes drawn, and what to say of it."""

    caption: str
    place: str
    pictures: list[Image.Image] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)


def draw_boxes(picture: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """A copy in the size of a tile, boxes in their class's colour with its name; a box that no
    anchor fits is dotted red inside."""
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    drawn = picture.convert("RGB").resize(size, method)
    pen = ImageDraw.Draw(drawn)
    font: Any = ImageFont.load_default(size=11)
    for box in boxes:
        corners = _corners(box, size)
        pen.rectangle(corners, outline=color(box.label), width=2)
        if not box.matched:
            _dotted(pen, corners)
    for box in boxes:
        _name(pen, font, box, size)
    return drawn


def _corners(box: Box, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """left, top, right, bottom: in order and on the picture, whatever the record says."""
    near = [min(1.5, max(-0.5, side)) for side in box.sides]
    y = sorted((near[0] * size[1], near[2] * size[1]))
    x = sorted((near[1] * size[0], near[3] * size[0]))
    return x[0], y[0], max(x[1], x[0] + 1), max(y[1], y[0] + 1)


def _dotted(pen: ImageDraw.ImageDraw, corners: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = corners
    for x in range(int(left), int(right) + 1, 4):
        pen.point([(x, top), (x, bottom)], fill=UNMATCHED)
    for y in range(int(top), int(bottom) + 1, 4):
        pen.point([(left, y), (right, y)], fill=UNMATCHED)


def _name(pen: ImageDraw.ImageDraw, font: Any, box: Box, size: tuple[int, int]) -> None:
    text = box.name if box.matched else f"{box.name} !"
    left, top, _, bottom = _corners(box, size)
    width, height = pen.textlength(text, font=font) + 4, 14
    x = min(max(0.0, left), max(0.0, size[0] - width))
    y = top - height if top >= height else min(bottom, size[1] - height)
    fill: Color = color(box.label)
    pen.rectangle((x, y, x + width, y + height), fill=fill)
    dark = 0.299 * fill[0] + 0.587 * fill[1] + 0.114 * fill[2] < 110  # luma of BT.601
    pen.text((x + 2, y), text, font=font, fill="white" if dark else "black")


def sheet(rows: Sequence[Row]) -> Image.Image:
    """A contact sheet: one row a record, its caption above."""
    font: Any = ImageFont.load_default(size=12)
    columns = max((len(row.pictures) for row in rows), default=1)
    heights = [max((p.height for p in row.pictures), default=0) + CAPTION + GAP for row in rows]
    paper = Image.new("RGB", (columns * (TILE + GAP) + GAP, sum(heights) + GAP), PAPER)
    pen, top = ImageDraw.Draw(paper), GAP
    for row, height in zip(rows, heights, strict=True):
        pen.text((GAP, top), f"{row.caption}   {row.place}", font=font, fill=INK)
        for column, picture in enumerate(row.pictures):
            paper.paste(picture, (GAP + column * (TILE + GAP), top + CAPTION))
        top += height
    return paper


def page(path: Path, title: str, lead: str, sections: Mapping[str, Sequence[Row]]) -> None:
    """One HTML file with all pictures in it. Raises StorageError."""
    body = "".join(_section(name, rows) for name, rows in sections.items() if rows)
    heads = "".join(
        f'<a href="#{_anchor(name)}">{html.escape(name)} ({len(rows)})</a>'
        for name, rows in sections.items()
        if rows
    )
    write_text(
        path,
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f'<meta name=viewport content="width=device-width,initial-scale=1"><style>{_STYLE}</style>'
        f"<h1>{html.escape(title)}</h1><p>{html.escape(lead)}</p><nav>{heads}</nav>{body}</html>\n",
    )


_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.4 system-ui,sans-serif;margin:1rem auto;max-width:76rem;padding:0 .6rem}
nav{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem}
figure{margin:1.2rem 0}
figcaption{overflow-wrap:anywhere}
code{font-size:.85em;opacity:.75}
.row{display:flex;flex-wrap:wrap;gap:.5rem}
.row div{flex:0 1 24rem;min-width:0}
img{max-width:100%;height:auto;display:block}
small{opacity:.75}
"""


def _section(name: str, rows: Sequence[Row]) -> str:
    figures = "".join(_figure(row) for row in rows)
    return f'<h2 id="{_anchor(name)}">{html.escape(name)}</h2>{figures}'


def _figure(row: Row) -> str:
    pictures = "".join(
        f'<div><img alt="{html.escape(title)}" width={picture.width} height={picture.height} '
        f'src="{_data_url(picture)}"><small>{html.escape(title)}</small></div>'
        for title, picture in zip(row.titles, row.pictures, strict=True)
    )
    return (
        f"<figure><figcaption>{html.escape(row.caption)} <code>{html.escape(row.place)}</code>"
        f"</figcaption><div class=row>{pictures}</div></figure>"
    )


def _data_url(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())
