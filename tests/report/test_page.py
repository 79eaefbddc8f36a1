"""The page of a run: everything in it, self-contained, and true."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths, State
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.report import page
from launcher.report.numbers import applied, categories, verdict
from launcher.report.record import read_record
from launcher.report.timeline import attempts
from launcher.storage import append_jsonl, read_json, write_json
from tests.report import made_run

NASTY = "</style><script>alert(1)</script>\"'&"


class Balanced(HTMLParser):
    """Every element is closed in its order; notes what would be fetched."""

    VOID = ("br", "hr", "img", "meta", "link", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def read(html: str) -> Balanced:
    parser = Balanced()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def text_of(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<style.*?</style>", "", html))


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return made_run.make(tmp_path / "made")


def test_it_has_all_that_a_run_recorded(paths: RunPaths) -> None:
    finding = Finding(
        "input-bound", Severity.WARNING, "train.jsonl", "waits 31%", Cost("time"), "More cores"
    )
    html = page.page(made_run.record(paths, health=[finding]))
    for section in (
        "Findings", "Curves", "The 12 numbers", "AP of each category", "Val images",
        "Plan and applied", "Time line", "Versions, machine, hashes",
    ):  # fmt: skip
        assert f"<h2>{section}</h2>" in html
    text = text_of(html)
    assert "mAP 40.0 at step 200 of 200 reaches the target of 35 (tolerance 0.5)." in text
    assert "warning: input-bound" in text
    assert "waits 31%" in text
    assert "More cores" in text
    assert "worker-1 was killed &lt;SIGKILL&gt;" in text
    assert "2.21.0" in text
    assert "of-worker (evaluator of-evaluator)" in text
    assert "workworkworkwork" in text  # the fingerprint of the train records
    assert f"{200:064x}"[:16] in text  # the checkpoint's
    assert "A100, A100" in text
    assert html.count("data:image/jpeg") == 2  # once for each of the two images
    assert html.count("<polyline") >= 8


def test_nothing_is_fetched_and_no_script_runs(paths: RunPaths) -> None:
    found = read(page.page(made_run.record(paths)))
    assert found.tags.isdisjoint({"script", "iframe", "object", "embed", "base", "form"})
    assert all(link.startswith(("data:", "#")) for link in found.links), found.links
    style = page.STYLE.read_text()
    assert "url(" not in style
    assert "@import" not in style
    assert "prefers-color-scheme: dark" in style


def test_every_text_is_escaped(tmp_path: Path) -> None:
    paths = made_run.make(tmp_path / "made", name=NASTY, recipe=NASTY)
    append_jsonl(
        paths.eval_metrics, made_run.score_row(200, 40.0, per_category={NASTY: 0.5}, engine=NASTY)
    )
    append_jsonl(paths.eval_metrics, {"step": 150, "error": NASTY})
    append_jsonl(paths.bad_records(0), {"place": NASTY, "what": NASTY})
    append_jsonl(paths.events, made_run.event(300, "FAILED", NASTY, 1, message=NASTY))
    versions = {"versions": {NASTY: NASTY}, "machine": {NASTY: NASTY}}
    append_jsonl(paths.provenance, {"role": "worker", "data": {"digest": NASTY}, **versions})
    images = [made_run.example("worst", NASTY, NASTY)]
    write_json(paths.examples, {"images": images})
    write_json(paths.root / "check.json", {"findings": [dict.fromkeys(
        ("name", "severity", "place", "evidence", "cost", "remedy"), NASTY)]})  # fmt: skip
    row = made_run.train_row(200, 1)
    append_jsonl(paths.train_metrics, row | {"losses": {NASTY: 1.0}})
    finding = Finding(NASTY, Severity.ERROR, NASTY, NASTY, Cost(NASTY), NASTY)
    run = read_record(paths, NASTY, State.FAILED, NASTY, [finding])
    found = read(page.page(run))
    assert "script" not in found.tags


def test_a_run_that_has_only_begun(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    html = page.page(read_record(paths, "new", State.PENDING))
    read(html)
    assert "No checkpoint is scored yet." in html
    write_json(paths.plan, made_run.plan("new"))
    append_jsonl(paths.train_metrics, made_run.train_row(1))
    html = page.page(read_record(paths, "new", State.RUNNING))
    read(html)
    assert "nothing was recorded" in html  # no mAP, and the speed only from the second step on


def test_it_is_written_into_the_run(paths: RunPaths, tmp_path: Path) -> None:
    run = made_run.record(paths)
    assert page.write(run) == paths.root / "report" / "index.html"
    assert page.write(run, tmp_path / "other.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("points", "changed", "kind", "words"),
    [
        (40.0, {}, "good", "mAP 40.0 at step 200 of 200 reaches the target of 35"),
        (34.6, {}, "good", "reaches"),
        (34.4, {}, "bad", "mAP 34.4 at step 200 of 200 misses the target of 35"),
        (40.0, {"target_map": None}, "open", "the run has no target"),
        (-100.0, {}, "bad", "mAP - at step 200 of 200 misses the target of 35"),
        (-100.0, {"target_map": None}, "open", "mAP - at step 200 of 200; the run has no target"),
    ],
)
def test_verdict(
    tmp_path: Path, points: float, changed: dict[str, Any], kind: str, words: str
) -> None:
    run = made_run.record(made_run.make(tmp_path, points, **changed))
    told = verdict(run.results)
    assert told[0] == kind
    assert words in told[1]


def test_categories_are_sorted_and_those_without_truth_come_last(paths: RunPaths) -> None:
    assert categories(made_run.record(paths).results) == [
        ("square", 0.4),
        ("circle", 0.2),
        ("star", None),
    ]


def rows(paths: RunPaths) -> dict[str, tuple[str, bool | None]]:
    return {a.what: (a.applied, a.differs) for a in applied(made_run.record(paths))}


def test_what_was_applied_is_compared_with_the_plan(paths: RunPaths) -> None:
    told = rows(paths)
    assert told["global batch"] == ("32", False)
    assert told["highest rate"] == ("0.05", False)
    assert told["rate at every step"][1] is False
    assert told["steps"] == ("200 (6,400 images)", False)
    assert told["train images"] == ("2,000", False)


def test_a_difference_from_the_plan_is_said(paths: RunPaths) -> None:
    changed = made_run.train_row(200, 1, global_batch=16, learning_rate=0.4)
    append_jsonl(paths.train_metrics, changed)
    plan = read_json(paths.plan)
    plan["data"]["train_images"] = 2001
    write_json(paths.plan, plan)
    told = rows(paths)
    assert told["global batch"] == ("16 to 32", True)
    assert told["highest rate"] == ("0.4", True)
    assert told["rate at every step"][1] is True
    assert told["train images"] == ("2,000", True)
    assert "differs" in text_of(page.page(made_run.record(paths)))


def test_attempts_of_the_time_line(paths: RunPaths) -> None:
    first, second = attempts(made_run.record(paths))
    assert (first.first_step, first.last_step, first.ended_by) == (1, 120, "peer-lost")
    assert first.message == "worker-1 was killed <SIGKILL>"
    assert (first.start, first.end) == (made_run.START + 2, made_run.START + 131)
    assert (second.first_step, second.last_step, second.ended_by) == (101, 200, "trained")


def test_attempts_of_a_run_from_before_there_were_events(paths: RunPaths) -> None:
    paths.events.unlink()
    first, second = attempts(made_run.record(paths))
    assert (first.number, first.last_step, first.ended_by) == (0, 120, "")
    assert first.end == made_run.START + 130
    assert (second.number, second.first_step) == (1, 101)


def test_findings_of_check_are_shown(paths: RunPaths) -> None:
    finding = {"name": "global-batch", "severity": "error", "evidence": "2 of 128"}
    (paths.root / "check.json").write_text(json.dumps({"findings": [finding]}))
    assert "error: global-batch" in text_of(page.page(made_run.record(paths)))
