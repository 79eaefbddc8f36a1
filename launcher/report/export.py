"""Scores and curves of a run for other programs: CSV and Markdown."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from launcher.contract import COCO_NUMBERS
from launcher.report import numbers
from launcher.report.record import RunRecord
from launcher.report.table import duration


def scores_csv(run: RunRecord) -> str:
    """One row a scored checkpoint: step, images seen, the 12 numbers, then a column `AP/NAME` for
    each category. Fractions of 1 as they were recorded; what cannot be scored is empty."""
    categories = dict.fromkeys(
        name for row in run.results.history for name in row.get("per_category") or ()
    )
    header = ["step", "images_seen", "time", *COCO_NUMBERS, *(f"AP/{c}" for c in categories)]
    return _csv(
        header,
        (
            [
                row["step"],
                run.images_at(row["step"]),
                row.get("time"),
                *(_fraction(row.get(name)) for name in COCO_NUMBERS),
                *((row.get("per_category") or {}).get(name) for name in categories),
            ]
            for row in run.results.history
        ),
    )


def training_csv(run: RunRecord) -> str:
    """One row a recorded step, each part of the loss a column."""
    parts = sorted({name for row in run.train for name in row.get("losses") or ()})
    fields = [
        "step",
        "images_seen",
        "time",
        "attempt",
        "loss",
        "learning_rate",
        "gradient_norm",
        "images_per_second",
        "input_share",
    ]
    return _csv(
        [*fields, *parts],
        (
            [*(row.get(f) for f in fields), *((row.get("losses") or {}).get(p) for p in parts)]
            for row in run.train
        ),
    )


def markdown(run: RunRecord) -> str:
    """For an issue or a wiki: the verdict, the 12 numbers, categories, plan and hashes."""
    kind, sentence = numbers.verdict(run.results)
    mark = {"good": "reached", "bad": "missed", "open": "open"}[kind]
    lines = [f"# {_escaped(run.name)}", "", f"**{mark}**: {_escaped(sentence)}", ""]
    about = [("state", str(run.results.state)), ("images seen", f"{run.images_seen:,}")]
    if run.seconds is not None:
        about.append(("time", duration(run.seconds)))
    lines += [f"- {name}: {_escaped(value)}" for name, value in [*about, *numbers.facts(run)]]
    if (final := run.results.final) is not None:
        head = ("number", f"step {final['step']:,}", "meaning")
        rows = [(n, numbers.points(final.get(n)), m) for n, m in numbers.MEANINGS.items()]
        lines += _section("The 12 numbers (COCO points)", head, rows)
        each = [(n, numbers.points(v)) for n, v in numbers.categories(run.results)]
        lines += _section("AP of each category", ("category", "AP"), each)
    found = [
        (f"{f.get('severity')}", f"{f.get('name')}", f"{f.get('evidence')}", f"{f.get('remedy')}")
        for f in numbers.findings(run)
    ]
    lines += _section("Findings", ("", "name", "evidence", "remedy"), found)
    applied = [
        (a.what, a.planned, a.applied, "differs" if a.differs else "") for a in numbers.applied(run)
    ]
    lines += _section("Plan and applied", ("", "plan", "applied", ""), applied)
    lines += _section("Hashes", ("what", "hash", "size"), numbers.digests(run))
    lines += _section("Versions", ("package", "version"), sorted(run.versions().items()))
    return "\n".join(lines) + "\n"


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["", f"## {title}", "", *markdown_table(head, rows)] if rows else []


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(map(_escaped, cells)) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def _escaped(text: str) -> str:
    """So that no text becomes a column, a tag or a second line."""
    for special in "\\|<>`*_[]":
        text = text.replace(special, f"\\{special}")
    return " ".join(text.split())


def _fraction(value: Any) -> float | None:
    return value if isinstance(value, int | float) and value >= 0 else None


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
