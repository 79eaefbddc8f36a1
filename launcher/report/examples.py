"""Val images with truth and detections side by side, drawn over the pictures as SVG."""

from collections.abc import Sequence
from typing import Any

from launcher.report.markup import Markup, tag

_GOLDEN = 137.508  # degrees: the hues of classes that follow each other are far apart


def gallery(examples: dict[str, Any]) -> Markup | None:
    """None when the evaluator recorded none."""
    images = [i for i in examples.get("images") or () if isinstance(i, dict)]
    if not images:
        return None
    names = sorted({str(box[4]) for i in images for box in (*i["truth"], *i["found"])})
    hues = {name: round(number * _GOLDEN % 360) for number, name in enumerate(names)}
    kinds = (("worst", "Worst"), ("best", "Best"))
    return tag(
        "div",
        [
            [
                tag("h3", title),
                tag("div", [_pair(i, n, hues) for n, i in _of_kind(images, kind)], cls="pairs"),
            ]
            for kind, title in kinds
        ],
    )


def _of_kind(images: Sequence[dict[str, Any]], kind: str) -> list[tuple[int, dict[str, Any]]]:
    return [(n, image) for n, image in enumerate(images) if image.get("kind") == kind]


def _pair(image: dict[str, Any], number: int, hues: dict[str, int]) -> Markup:
    truth, found = image["truth"], image["found"]
    quality = f"{image['quality']:.2f}"
    return tag(
        "figure",
        tag(
            "div",
            _picture(image, truth, hues, f"pixels-{number}", first=True, what="truth"),
            _picture(image, found, hues, f"pixels-{number}", first=False, what="detections"),
            cls="sides",
        ),
        tag(
            "figcaption",
            tag("b", f"quality {quality}"),
            f" objects: {len(truth)}, detections: {len(found)} ",
            tag("span", f"id {image['source_id']}", cls="dim"),
        ),
        cls="pair",
    )


def _picture(
    image: dict[str, Any],
    boxes: Sequence[Sequence[Any]],
    hues: dict[str, int],
    name: str,
    *,
    first: bool,
    what: str,
) -> Markup:
    """The second of a pair shows the pixels of the first: they are in the page once."""
    width, height = int(image["width"]), int(image["height"])
    pixels = (
        tag(
            "image",
            id=name,
            href=f"data:image/jpeg;base64,{image['jpeg']}",
            width=width,
            height=height,
            preserveAspectRatio="none",
        )
        if first
        else tag("use", href=f"#{name}")
    )
    size = max(width, height) / 17
    words = f"{what} of image {image['source_id']}: " + (", ".join(map(_text, boxes)) or "none")
    return tag(
        "div",
        tag(
            "svg",
            pixels,
            [_box(box, hues.get(str(box[4]), 0)) for box in boxes],
            [_label(box, hues.get(str(box[4]), 0), size, width, height) for box in boxes],
            viewbox=f"0 0 {width} {height}",
            role="img",
            aria_label=words,
        ),
        tag("span", what, cls="dim"),
    )


def _text(box: Sequence[Any]) -> str:
    return str(box[4]) if box[5] is None else f"{box[4]} {box[5]:.2f}"


def _box(box: Sequence[Any], hue: int) -> Markup:
    x, y, width, height = (float(v) for v in box[:4])
    sides = {"x": x, "y": y, "width": max(0.0, width), "height": max(0.0, height)}
    return tag(
        "g",
        tag("title", _text(box)),
        tag("rect", **sides, cls="under"),
        tag("rect", **sides, cls="box", style=f"stroke:hsl({hue} 95% 60%)"),
    )


def _label(box: Sequence[Any], hue: int, size: float, width: int, height: int) -> Markup:
    text = _text(box)
    long = 0.58 * size * len(text) + 0.4 * size  # about what a sans-serif takes
    x = min(max(0.0, float(box[0])), max(0.0, width - long))
    above = float(box[1]) - 1.25 * size
    y = above if above >= 0 else min(max(0.0, float(box[1])), height - 1.25 * size)
    return tag(
        "g",
        tag(
            "rect",
            x=round(x, 1),
            y=round(y, 1),
            width=round(long, 1),
            height=round(1.25 * size, 1),
            style=f"fill:hsl({hue} 95% 60%)",
        ),
        tag(
            "text",
            text,
            x=round(x + 0.2 * size, 1),
            y=round(y + 0.95 * size, 1),
            font_size=round(size, 1),
            cls="on-box",
        ),
    )
