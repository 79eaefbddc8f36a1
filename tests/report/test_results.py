"""What results name is there."""

from pathlib import Path

from launcher.contract import RunPaths, State
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


def test_scores_of_weights_that_are_gone_do_not_count(tmp_path: Path) -> None:
    """Steps 90 and 100 were scored, their checkpoints found damaged, and 80 gone on from."""
    paths = RunPaths(tmp_path)
    for time, step in enumerate((80, 90, 100, 81, 91, 95), start=1):
        append_jsonl(paths.train_metrics, {"step": step, "time": float(time)})
    for time, step in ((1.5, 80), (2.5, 90), (3.4, 100), (5.5, 90), (7.0, 95)):
        row = made_run.score_row(step, 10.0 * time) | {"time": time}
        append_jsonl(paths.eval_metrics, row)
    append_jsonl(paths.eval_metrics, {"step": 100, "error": "of one that is gone", "time": 3.5})
    results = read_results(paths, "made", State.RUNNING)
    assert [(row["step"], row["time"]) for row in results.history] == [
        (80, 1.5),
        (90, 5.5),
        (95, 7),
    ]
    assert results.not_scored == ()
