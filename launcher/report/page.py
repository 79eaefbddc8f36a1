"""One HTML page of one run: no script, no other file, opens from a disk or an attachment."""

import time
from collections.abc import Sequence
from pathlib import Path

from launcher.contract import COCO_NUMBERS
from launcher.report import curves, examples, numbers, timeline
from launcher.report.chart import figure
from launcher.report.markup import Child, Markup, join, tag
from launcher.report.record import RunRecord
from launcher.report.table import duration
from launcher.storage import write_output, write_text

STYLE = Path(__file__).with_name("page.css")


def write(run: RunRecord, path: Path | None = None) -> Path:
    """To `path`, by default report/index.html of the run. Raises StorageError."""
    if path is None:
        write_text(run.paths.page, page(run))
        return run.paths.page
    write_output(path, page(run))
    return path


def page(run: RunRecord) -> str:
    kind, sentence = numbers.verdict(run.results)
    content = [
        tag("header", tag("h1", run.name), tag("p", sentence, cls=f"verdict {kind}"), _state(run)),
        section("Findings", _findings(run)),
        section("Curves", tag("div", [figure(c) for c in curves.charts(run)], cls="charts")),
        section("The 12 numbers", _coco(run)),
        section("AP of each category", _categories(run)),
        section(
            "Val images",
            examples.gallery(run.examples),
            "Ranked by panoptic quality of boxes (arXiv 1801.00868): matched IoU over matched, "
            "half of the missed and half of the wrong ones.",
        ),
        section("Plan and applied", _applied(run)),
        section("Time line", timeline.section(run)),
        section("Left out", _losses(run)),
        section("Versions, machine, hashes", _provenance(run)),
    ]
    return document(f"{run.name}: results", content)


def document(title: str, content: Sequence[Child]) -> str:
    """A whole page, with its style in it."""
    made = time.strftime("%Y-%m-%d %H:%M:%S")
    return "<!doctype html>\n" + tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("link", rel="icon", href="data:,"),
            tag("title", title),
            tag("style", Markup(STYLE.read_text())),
        ),
        tag("body", tag("main", content, tag("footer", f"launcher, {made}"))),
        lang="en",
    )


def section(title: str, content: Markup | None, note: str = "") -> Markup | None:
    """None without content."""
    if content is None:
        return None
    said = tag("p", note, cls="note") if note else None
    return tag("section", tag("h2", title), said, content)


def table(
    head: Sequence[Child], rows: Sequence[Sequence[Child]], numeric: Sequence[int] = ()
) -> Markup:
    """In a frame that scrolls by itself where the window is too narrow; `numeric` columns are
    aligned to the right."""

    def cells(name: str, row: Sequence[Child]) -> list[Markup]:
        return [tag(name, c, cls="number" if i in numeric else None) for i, c in enumerate(row)]

    body = [tag("tr", cells("td", row)) for row in rows]
    return tag(
        "div",
        tag("table", tag("thead", tag("tr", cells("th", head))), tag("tbody", body)),
        cls="wide",
    )


def pairs(rows: Sequence[tuple[str, Child]]) -> Markup:
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in rows])


def _state(run: RunRecord) -> Markup:
    final, seconds = run.results.final, run.seconds
    rows: list[tuple[str, Child]] = [("state", str(run.results.state))]
    if final is not None:
        rows += [("mAP", numbers.points(final["mAP"])), ("AP50", numbers.points(final.get("AP50")))]
    best = run.results.best
    if best is not None and final is not None and best["step"] != final["step"]:
        rows.append(("best mAP", f"{numbers.points(best['mAP'])} at step {best['step']:,}"))
    rows.append(("images seen", f"{run.images_seen:,}"))
    if seconds is not None:
        rows.append(("time", duration(seconds)))
    message = tag("p", run.message, cls="message") if run.message else None
    return join(pairs([*rows, *numbers.facts(run)]), message)


def _findings(run: RunRecord) -> Markup:
    found = numbers.findings(run)
    if not found:
        return tag("p", "None.", cls="none")
    return tag(
        "ul",
        [
            tag(
                "li",
                tag("b", f"{f.get('severity')}: {f.get('name')} "),
                tag("span", f"{f.get('place')}", cls="dim"),
                tag("p", f"{f.get('evidence')}"),
                tag("p", f"Cost: {f.get('cost')}") if f.get("cost") else None,
                tag("p", f"Remedy: {f.get('remedy')}") if f.get("remedy") else None,
                cls=f"finding {f.get('severity')}",
            )
            for f in found
        ],
        cls="findings",
    )


def _coco(run: RunRecord) -> Markup | None:
    final, best = run.results.final, run.results.best
    if final is None or best is None:
        return None
    shown = [(final, f"step {final['step']:,}")]
    if best["step"] != final["step"]:
        shown.append((best, f"best, step {best['step']:,}"))
    rows: list[list[Child]] = [
        [
            [name, tag("span", numbers.MEANINGS[name], cls="note")],
            *(numbers.points(row.get(name)) for row, _ in shown),
        ]
        for name in COCO_NUMBERS
    ]
    head = ["COCO points", *(title for _, title in shown)]
    engine = final.get("engine")
    note = tag("p", f"Scored by {engine}, {final.get('images', '-')} images.", cls="note")
    return join(table(head, rows, numeric=(1, 2)), note if engine else None)


def _categories(run: RunRecord) -> Markup | None:
    found = numbers.categories(run.results)
    if not found:
        return None
    return tag(
        "ol",
        [
            tag(
                "li",
                tag("span", name, cls="name", title=name),
                tag(
                    "span",
                    tag("span", cls="bar", style=f"width:{100 * (value or 0):.1f}%"),
                    cls="track",
                ),
                tag("span", "no truth" if value is None else numbers.points(value), cls="number"),
            )
            for name, value in found
        ],
        cls="categories",
    )


def _applied(run: RunRecord) -> Markup:
    words = {None: "", False: "as planned", True: "differs"}
    rows = [
        (a.what, a.planned, a.applied, tag("span", words[a.differs], cls=_color(a.differs)))
        for a in numbers.applied(run)
    ]
    return table(("", "plan", "applied", ""), rows)


def _color(differs: bool | None) -> str:
    return {None: "dim", False: "good", True: "bad"}[differs]


def _losses(run: RunRecord) -> Markup | None:
    """What the run went on without."""
    results = run.results
    lines = [f"unscored: step {row['step']:,}: {row['error']}" for row in results.not_scored]
    lines += [f"skipped record: {place}" for place in results.bad_records]
    lines += [f"damaged checkpoint: {name}" for name in results.damaged_checkpoints]
    if not lines:
        return None
    return tag("ul", [tag("li", line) for line in numbers.first_lines(lines, 20)])


def _provenance(run: RunRecord) -> Markup:
    machine = run.started("worker").get("machine") or {}
    rows = [(k, ", ".join(v) if isinstance(v, list) else str(v)) for k, v in machine.items()]
    return join(
        pairs([(k, v) for k, v in rows if v]) if rows else None,
        table(("package", "version"), sorted(run.versions().items())) if run.versions() else None,
        table(
            ("what", "hash"),
            [
                ([what, tag("span", size, cls="note") if size else None], tag("code", digest))
                for what, digest, size in numbers.digests(run)
            ],
        ),
    )
