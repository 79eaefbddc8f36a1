"""A comparison as one HTML page, as self-contained as that of a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.report.chart import COLORS, Chart, Series, figure
from launcher.report.compare import Comparison, written
from launcher.report.markup import Markup, tag
from launcher.report.page import document, section, table
from launcher.storage import write_output

SHORT = 16
"""Characters of a value that is not broken into two lines."""


def write(found: Comparison, path: Path) -> Path:
    """Raises StorageError."""
    write_output(path, page(found))
    return path


def page(found: Comparison) -> str:
    names = found.names
    title = " against ".join(names)
    outcome = [(key, *map(_cell, values)) for key, values in found.outcome.items()]
    content = [
        tag("header", tag("h1", title)),
        section("What came out", table(("", *names), outcome)),
        section("Curves", tag("div", [figure(c) for c in _charts(found)], cls="charts")),
    ]
    content += [
        section(
            f"What differs: {part}",
            table(("", *names), [(_key(key), *map(_cell, v)) for key, v in differing.items()])
            if differing
            else tag("p", "nothing" if part in found.known else "not recorded", cls="none"),
        )
        for part, differing in found.differences.items()
    ]
    return document(f"{title}: compared", content)


def _key(key: str) -> Markup:
    """A dotted key, which may be broken anywhere: pipeline.config's are long."""
    return tag("span", key, cls="key")


def _cell(value: Any) -> Markup:
    text = written(value)
    return tag("span", text, cls="short" if len(text) <= SHORT else None)


def _charts(found: Comparison) -> Sequence[Chart]:
    return [
        _chart(found, "mAP", "mAP", "COCO points", kind="dots"),
        _chart(found, "Loss", "loss", "smoothed", log=True),
        _chart(found, "Learning rate", "learning_rate", "per step"),
        _chart(found, "Speed", "images_per_second", "images/s"),
    ]


def _chart(
    found: Comparison, title: str, key: str, unit: str, *, log: bool = False, kind: str = "line"
) -> Chart:
    series = [
        Series(name, points, number % COLORS + 1, kind)
        for number, (name, points) in enumerate(found.curve(key).items())
        if points
    ]
    return Chart(title, series, unit=unit, log=log)
