"""What a run's files say of it after restarts: steps once, bad records once."""

from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths, State
from launcher.report.results import read_results
from launcher.report.table import losses
from launcher.run_record import damaged_checkpoints, read_bad_records, read_train_rows
from launcher.storage import append_jsonl


@pytest.fixture
def paths(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def write(paths: RunPaths, *rows: tuple[int, int]) -> None:
    for attempt, step in rows:
        append_jsonl(paths.train_metrics, {"attempt": attempt, "step": step})


def read(paths: RunPaths) -> list[tuple[int, int]]:
    return [(row["attempt"], row["step"]) for row in read_train_rows(paths)]


def test_steps_that_are_trained_again_count_once(paths: RunPaths) -> None:
    assert read(paths) == []
    write(paths, (0, 1), (0, 2), (0, 3), (0, 4))
    assert read(paths) == [(0, 1), (0, 2), (0, 3), (0, 4)]
    write(paths, (1, 3))  # from the checkpoint of step 2
    assert read(paths) == [(0, 1), (0, 2), (1, 3)]
    write(paths, (1, 4), (1, 5), (2, 5), (2, 6))
    assert read(paths) == [(0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)]
    write(paths, (3, 1))  # all others were lost
    assert read(paths) == [(3, 1)]


def test_thinned_rows_and_torn_lines(paths: RunPaths) -> None:
    """Every tenth step: from the checkpoint of step 25 the first row again is that of 30."""
    write(paths, (0, 10), (0, 20), (0, 30), (0, 40))
    with paths.train_metrics.open("a") as file:
        file.write('{"attempt": 0, "st\n')
    write(paths, (1, 30))
    assert read(paths) == [(0, 10), (0, 20), (1, 30)]


def bad(paths: RunPaths, worker: int, place: str) -> None:
    row: dict[str, Any] = {"place": place, "what": "no image", "attempt": 0}
    append_jsonl(paths.bad_records(worker), row)


def test_a_bad_record_counts_once_whoever_met_it(paths: RunPaths) -> None:
    for worker, place in ((0, "a: record 1"), (1, "a: record 1"), (1, "b: record 0")):
        bad(paths, worker, place)
    bad(paths, 0, "a: record 1")  # again in the next attempt
    assert read_bad_records(paths) == {"a: record 1": "no image", "b: record 0": "no image"}


def test_status_and_results_name_what_was_lost(paths: RunPaths) -> None:
    assert losses(paths) == []
    bad(paths, 0, "a: record 1")
    bad(paths, 1, "b: record 0")
    paths.damaged.mkdir(parents=True)
    for name in ("ckpt-10.index", "ckpt-10.data-00000-of-00001", "ckpt-9.index"):
        (paths.damaged / name).touch()
    assert damaged_checkpoints(paths) == ["ckpt-9", "ckpt-10"]
    assert losses(paths) == [
        ("skipped", "bad records: a: record 1 and 1 more (metrics/bad-records-*.jsonl)"),
        ("damaged", "ckpt-9, ckpt-10 (set aside in checkpoints/damaged)"),
    ]
    told = read_results(paths, "x", State.RUNNING).to_json()
    assert told["bad_records"] == ["a: record 1", "b: record 0"]
    assert told["damaged_checkpoints"] == ["ckpt-9", "ckpt-10"]
