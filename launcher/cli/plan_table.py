"""The table of a plan on a terminal: no word is broken, and a narrow one gets blocks."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from launcher.planning import Plan, Row

_WIDTH = 140
"""Where there is no terminal to ask."""
_NAMES = {"quantity": "", "recipe": "recipe", "file": "your file", "run": "this run"}
_WIDE, _NARROW = 30, 20
"""Columns of the last one, why, beside others in one line each, and beside others that wrap."""


def print_plan(made: "Plan", gpu_memory: float | None) -> None:
    from rich.console import Console
    from rich.text import Text

    from launcher.planning import table

    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    rows = table(made, gpu_memory)
    console.print(Text(f"{made.name}: {made.recipe or made.spec.pipeline_config}"))
    grid = _grid(rows, console.width)
    if grid is not None:
        console.print(grid)
    else:
        for line in blocks(rows, console.width):
            console.print(Text(line), soft_wrap=True)
    for warning in made.warnings:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)


def _grid(rows: "Sequence[Row]", width: int) -> "Table | None":
    """None where it would break words; only a path in the last column may be."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = [field for field in _NAMES if any(getattr(row, field) for row in rows)]
    texts = {f: [_NAMES[f], *(getattr(row, f) for row in rows)] for f in shown}
    room = width - 3 * len(shown) - 2  # what stands between the columns, and at both edges
    whole = [max(map(len, texts[f])) for f in shown]
    words = [max(len(word) for text in texts[f] for word in text.split()) for f in shown]
    for widths, least in ((whole, _WIDE), (words, _NARROW)):
        if room - sum(widths) >= least:
            break
    else:
        return None
    grid = Table(box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for field, columns in zip(shown, widths, strict=True):
        side = "left" if field == "quantity" else "right"
        grid.add_column(_NAMES[field], justify=side, width=columns)  # type: ignore[arg-type]
    why = min(room - sum(widths), max(len(row.why) for row in rows))
    grid.add_column("why", overflow="fold", width=why)
    for row in rows:
        grid.add_row(*(Text(getattr(row, field)) for field in shown), Text(row.why))
    return grid


def blocks(rows: "Sequence[Row]", width: int) -> list[str]:
    """A quantity each: what this run has, beside the others', and why. Paths stay whole."""
    lines = []
    for row in rows:
        others = [f"{_NAMES[f]} {getattr(row, f)}" for f in ("recipe", "file") if getattr(row, f)]
        beside = f" ({', '.join(others)})" if others else ""
        for text, indent in ((f"{row.quantity}: {row.run or '-'}{beside}", ""), (row.why, "  ")):
            lines += textwrap.wrap(
                text,
                max(width, 20),
                initial_indent=indent,
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
    return lines
