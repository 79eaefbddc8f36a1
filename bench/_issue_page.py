"""The page of bench/issue_10530.py: the table, what `check` found, the curves of all runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher.contract import RunPaths
from launcher.report.chart import COLORS, Chart, Series, figure
from launcher.report.markup import tag
from launcher.report.page import document, section, table
from launcher.run_record import read_train_rows
from launcher.storage import read_jsonl, write_text


def write_page(
    path: Path,
    *,
    title: str,
    head: str,
    rows: Sequence[str],
    findings: Sequence[Mapping[str, Any]],
    runs: Sequence[RunPaths],
) -> Path:
    """`head` and `rows` are lines of a Markdown table; runs of one variant share a colour."""
    columns = ("severity", "name", "evidence", "cost", "remedy")
    found = table(columns, [[str(f[c]) for c in columns] for f in findings])
    content = [
        tag("header", tag("h1", title)),
        section("What came out", table(_cells(head), [_cells(row) for row in rows], numeric=(3,))),
        section("What launcher check says of theirs", found),
        section("Curves", tag("div", [figure(chart) for chart in _charts(runs)], cls="charts")),
    ]
    write_text(path, document(title, content))
    return path


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _charts(runs: Sequence[RunPaths]) -> list[Chart]:
    variants = list(dict.fromkeys(run.root.name.rpartition("-")[0] for run in runs))
    trained = {run.root.name: read_train_rows(run) for run in runs}
    charts = []
    for chart, key in (("Loss", "loss"), ("Learning rate", "learning_rate")):
        series = [
            Series(
                name,
                [(row["images_seen"], row[key]) for row in rows if row.get(key) is not None],
                variants.index(name.rpartition("-")[0]) % COLORS + 1,
            )
            for name, rows in trained.items()
        ]
        charts.append(Chart(chart, series, log=key == "loss"))
    scores = [
        Series(
            run.root.name,
            [
                (trained[run.root.name][-1]["images_seen"], 100 * row["mAP"])
                for row in read_jsonl(run.eval_metrics)
                if "mAP" in row and trained[run.root.name]
            ],
            variants.index(run.root.name.rpartition("-")[0]) % COLORS + 1,
            "dots",
        )
        for run in runs
    ]
    return [Chart("mAP of the last checkpoint", scores, unit="COCO points"), *charts]
