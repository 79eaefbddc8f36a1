"""results --html, --csv, --markdown, and compare, as commands."""

import json
from pathlib import Path

import pytest

from launcher.contract import RunPaths
from launcher.storage import append_jsonl
from tests.report import made_run

from .conftest import Launcher


@pytest.fixture
def run(work: Path) -> RunPaths:
    return made_run.make(work / "runs" / "good", name="good")


def test_a_page_in_the_run_or_elsewhere(inside: Launcher, work: Path, run: RunPaths) -> None:
    done = inside("results", "good", "--html")
    assert (done.returncode, done.stdout.strip()) == (0, str(run.page))
    assert "<h1>good</h1>" in run.page.read_text()
    done = inside("results", "good", "--html", "-o", "there.html")
    assert (work / "there.html").read_text().startswith("<!doctype html>")
    done = inside("results", "good", "--html", "-o", str(run.spec / "no" / "page.html"))
    assert done.returncode != 0
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_csv_and_markdown(inside: Launcher, work: Path, run: RunPaths) -> None:
    done = inside("results", "good", "--csv")
    assert done.stdout.splitlines()[0].startswith("step,images_seen,time,mAP,AP50")
    assert len(done.stdout.splitlines()) == 3
    done = inside("results", "good", "--csv", "--training", "-o", "steps.csv")
    assert done.stdout.strip() == "steps.csv"
    assert len((work / "steps.csv").read_text().splitlines()) == 201
    assert inside("results", "good", "--markdown").stdout.startswith("# good\n")


def test_the_exit_code_is_the_same_in_every_form(inside: Launcher, work: Path) -> None:
    made_run.make(work / "runs" / "low", 20.0, name="low")
    for option in ("--html", "--csv", "--markdown", "--json"):
        done = inside("results", "low", option)
        assert done.returncode == 4
        assert "below the target 35" in done.stderr
        assert done.stdout


def test_what_nothing_can_score_is_no_number(inside: Launcher, work: Path) -> None:
    """pycocotools says -1 where val has no ground truth."""
    made_run.make(work / "runs" / "none", -100.0, name="none")
    for option in ("--markdown", "--html", "--json"):
        done = inside("results", "none", option)
        assert done.returncode == 4
        assert done.stderr.startswith("error: none: mAP - is below the target 35 minus")
    told = inside("results", "none", "--markdown").stdout
    assert "**missed**: mAP - at step 200 of 200 misses the target of 35" in told
    page = work / "runs" / "none" / "report" / "index.html"
    assert "mAP -100" not in told + page.read_text()
    assert "the best mAP is - of a target of 35 after" in told


def test_json_says_how_far_it_was_to_go(inside: Launcher, run: RunPaths) -> None:
    found = json.loads(inside("results", "good", "--json").stdout)
    assert (found["final"]["step"], found["total_steps"]) == (200, 200)


def test_health_is_in_status_and_results(inside: Launcher, run: RunPaths) -> None:
    assert json.loads(inside("status", "good", "--json").stdout)["findings"] == []
    for step in range(181, 201):
        append_jsonl(run.train_metrics, made_run.train_row(step, 2, input_share=0.4))
    for command in ("status", "results"):
        told = inside(command, "good").stdout
        assert "warning" in told
        assert "input-bound: worker 0 waits for its images in 40% of a step" in told
        (finding,) = json.loads(inside(command, "good", "--json").stdout)["findings"]
        assert finding["name"] == "input-bound"
    assert "input-bound" in inside("results", "good", "--markdown").stdout


def test_compare(inside: Launcher, work: Path, run: RunPaths) -> None:
    made_run.make(work / "runs" / "low", 20.0, name="low", epochs=6.4)
    done = inside("compare", "good", "low")
    assert done.returncode == 0
    assert "35 reached  35 missed" in done.stdout
    assert "plan: 1 differ" in done.stdout
    told = json.loads(inside("compare", "good", "low", "--json").stdout)
    assert told["differences"]["plan"] == {"epochs": [3.2, 6.4]}
    assert inside("compare", "good", "low", "--html").stdout.strip() == "compare.html"
    assert "epochs" in (work / "compare.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["results", "good", "--html", "--csv"], "--html and --csv exclude each other"),
        (["results", "good", "--csv", "--json"], "--csv and --json exclude each other"),
        (["results", "good", "--training"], "--training is for --csv"),
        (["results", "good", "-o", "x"], "--output is for --html, --csv or --markdown"),
        (["compare", "good"], "one run cannot be compared"),
        (["compare", "good", "good", "-o", "x"], "--output is for --html"),
        (["compare", "good", "goood"], "Did you mean good"),
    ],
)
def test_mistakes_are_one_line(
    inside: Launcher, run: RunPaths, arguments: list[str], message: str
) -> None:
    done = inside(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
