"""What results name is there."""

from pathlib import Path

from launcher.contract import State
from launcher.report.results import read_results
from launcher.report.table import summary
from launcher.storage import append_jsonl
from tests.report import made_run


def test_only_pictures_that_are_there_are_named(tmp_path: Path) -> None:
    paths = made_run.make(tmp_path)
    for step in (50, 100, 200):
        name = f"report/val-step-{step}.png"
        append_jsonl(paths.eval_metrics, made_run.score_row(step, 20.0, picture=name))
    append_jsonl(paths.eval_metrics, made_run.score_row(60, 20.0, picture=["spoiled"]))
    paths.report.mkdir(exist_ok=True)
    for step in (50, 200):
        paths.picture(step).touch()
    results = read_results(paths, "made", State.SUCCEEDED)
    assert [row["picture"] for row in results.history] == [
        "report/val-step-50.png",
        None,
        None,
        "report/val-step-200.png",
    ]
    assert f"  picture  {paths.picture(200)}" in summary(results, paths)
    paths.picture(200).unlink()
    gone = summary(read_results(paths, "made", State.SUCCEEDED), paths)
    assert not any("picture" in line for line in gone)
