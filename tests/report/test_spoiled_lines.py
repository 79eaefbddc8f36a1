"""A line of a run's metrics that a disk or a person spoiled."""

from pathlib import Path

import pytest

from launcher.contract import State
from launcher.evaluate.follow import Ledger
from launcher.health import look
from launcher.health.facts import read_facts
from launcher.report.compare import compare
from launcher.report.export import markdown, scores_csv, training_csv
from launcher.report.page import page
from launcher.report.record import read_record
from tests.report import made_run

SPOILED = [
    b"\xff\xfe{\x80",
    b"[1]",
    b"5",
    b'"text"',
    b'{"step": 150, "mAP": null}',
    b'{"step": null, "mAP": 0.3}',
    b'{"step": "x", "mAP": 0.3}',
    b'{"step": [1], "mAP": 0.3}',
    b'{"step": true, "mAP": 0.3}',
    b'{"step": 150, "mAP": "high"}',
    b'{"step": 150, "mAP": 1' + b"0" * 400 + b"}",
    b'{"step": 1' + b"0" * 400 + b', "mAP": 0.3}',
    b"[" * 100_000,
]
SPOILED_PARTS = [
    b'{"step": 160, "mAP": 0.3, "AP50": "x", "per_category": [1], "loss": "x", "losses": [1]}',
    b'{"step": 160, "mAP": 0.3, "per_category": {"cat": "x"}, "losses": {"Loss/a": "x"}}',
]


@pytest.mark.parametrize("line", SPOILED + SPOILED_PARTS)
def test_a_spoiled_line_spoils_no_other(tmp_path: Path, line: bytes) -> None:
    """In any of the files: the run can be looked at as if it were not there."""
    paths = made_run.make(tmp_path / "run")
    steps = [row["step"] for row in read_record(paths, "made", State.SUCCEEDED).results.history]
    for path in (paths.train_metrics, paths.eval_metrics, paths.events, paths.provenance):
        path.write_bytes(line + b"\n" + path.read_bytes())
    with paths.bad_records(0).open("ab") as file:
        file.write(line + b"\n")
    record = read_record(paths, "made", State.SUCCEEDED, health=look(read_facts(paths)))
    assert [row["step"] for row in record.results.history if row["step"] != 160] == steps
    assert (160 in [row["step"] for row in record.results.history]) is (line in SPOILED_PARTS)
    assert page(record)
    assert markdown(record)
    assert compare([record, record])
    assert scores_csv(record)
    assert training_csv(record)
    assert Ledger(paths.eval_metrics, paths.checkpoints).scored([]) >= set(steps)
