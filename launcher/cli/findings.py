"""Findings as text for people: a block each, the costliest first."""

import textwrap
from typing import TYPE_CHECKING

from launcher.preflight import Severity

if TYPE_CHECKING:
    from launcher.preflight import Finding
    from launcher.preflight.data import SplitSummary
    from launcher.preflight.run import Report

_WIDTH = 120
"""Where there is no terminal to ask."""
_INDENT = 9
_NARROW = 2
"""Of at, costs and write on a narrower terminal, for which all texts begin in one column: the
findings of tensorflow/models#10530 fit into 50 lines of 80 columns."""
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
_WORDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}


def print_report(report: "Report", *, err: bool = False) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, stderr=err, soft_wrap=True)
    width = console.width if console.is_terminal else _WIDTH
    console.print(Text(_title(report)))
    for finding in report.findings:
        first, *others = block(finding, width)
        word = _WORDS[finding.severity]
        console.print(Text(word, _STYLES[finding.severity]).append(first[len(word) :], "not bold"))
        for line in others:
            console.print(Text(line))
    console.print(Text(summary(report)))


def block(finding: "Finding", width: int) -> list[str]:
    """What is wrong; where, what it costs and what to write unless it is a note."""
    head = f"{_WORDS[finding.severity]:<{_INDENT}}{finding.name}: {finding.evidence}"
    lines = _wrapped(head, width, _INDENT)
    if finding.severity is not Severity.INFO:
        margin = _INDENT if width >= _WIDTH else _NARROW
        rows = (("at", finding.place), ("costs", finding.cost.text), ("write", finding.remedy))
        for label, text in rows:
            start = f"{'':<{margin}}{label:<7}"
            lines += _wrapped(f"{start}{text}", width, len(start)) if text else []
    return lines


def summary(report: "Report") -> str:
    """2 errors, 5 warnings, 1 note"""
    parts = []
    for severity, word in _WORDS.items():
        if count := sum(f.severity is severity for f in report.findings):
            parts.append(f"{count} {word}{'s' if count > 1 else ''}")
    return ", ".join(parts) if parts else "nothing was found"


def _title(report: "Report") -> str:
    parts = [report.recipe or "a model of its own"]
    if report.target_map is not None:
        parts.append(f"target mAP {report.target_map:g}")
    if report.data:
        sets = (("train", report.data.train), ("val", report.data.val))
        parts += [_set(name, found) for name, found in sets if found.files]
    return f"{report.name}: {', '.join(parts)}"


def _set(name: str, found: "SplitSummary") -> str:
    images = "" if found.images is None else f"{found.images:,} {name} images in "
    files = f"{found.files:,} {'file' if found.files == 1 else 'files'}"
    return f"{images}{files if images else f'{files} of {name}'} ({found.decoded:,} decoded)"


def _wrapped(text: str, width: int, indent: int) -> list[str]:
    """Paths and patterns stay whole."""
    return textwrap.wrap(
        text,
        max(width, 2 * indent),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
