"""What differs between runs, beside what came out."""

import json
from pathlib import Path

import pytest

from launcher.odapi import pipeline
from launcher.report import compare_page
from launcher.report.compare import Comparison, compare, cut, labels, lines
from launcher.storage import append_jsonl, write_text
from tests.report import made_run
from tests.report.test_page import read


@pytest.fixture
def found(tmp_path: Path) -> Comparison:
    a = made_run.make(tmp_path / "a", 40.0, name="a")
    b = made_run.make(
        tmp_path / "b", 20.0, name="b", epochs=6.4, spec={"name": "b", "train": {"seed": 1}}
    )
    config = pipeline.read(b.pipeline)
    config.train_config.gradient_clipping_by_norm = 3.0
    pipeline.write(b.pipeline, config)
    row = {"role": "worker", "versions": {"tensorflow": "2.22.0"}, "data": {"digest": "other"}}
    append_jsonl(b.provenance, row)
    return compare([made_run.record(a), made_run.record(b)])


def test_only_what_differs_is_told(found: Comparison) -> None:
    assert found.differences["spec"] == {"train.seed": (0, 1)}
    assert found.differences["plan"] == {"epochs": (3.2, 6.4)}
    key = "train_config.gradient_clipping_by_norm"
    assert found.differences["pipeline"] == {key: (None, 3.0)}
    assert found.differences["data"]["train.digest"] == ("workworkworkwork", "other")
    assert "val.digest" not in found.differences["data"]
    tensorflow = found.differences["versions"]["tensorflow"]
    assert tensorflow == ("2.21.0", "2.22.0 (evaluator 2.21.0)")


def test_what_came_out(found: Comparison) -> None:
    assert found.outcome["mAP"] == (40.0, 20.0)
    assert found.outcome["target"] == ("35 reached", "35 missed")
    assert found.outcome["images seen"] == (6400, 6400)
    assert found.outcome["restarts"] == (1, 1)
    assert "APl" not in found.outcome  # none has it
    assert found.curve("mAP") == {
        "a": [(3200, 20.0), (6400, 40.0)],
        "b": [(3200, 10.0), (6400, 20)],
    }
    assert len(found.curve("loss")["a"]) == 200


def test_as_text_and_as_json(found: Comparison) -> None:
    text = "\n".join(lines(found))
    assert "train.seed  0  1" in text
    assert "3,200   20.0  10.0" in text
    told = json.loads(json.dumps(found.to_json()))
    assert told["differences"]["spec"]["train.seed"] == [0, 1]
    assert told["curves"]["mAP"]["b"][-1] == [6400, 20.0]
    assert [run["name"] for run in told["runs"]] == ["a", "b"]


def test_as_a_page(found: Comparison) -> None:
    html = compare_page.page(found)
    parsed = read(html)
    assert "script" not in parsed.tags
    assert all(link.startswith(("data:", "#")) for link in parsed.links)
    assert "train.seed" in html
    assert html.count("<figure") == 4


def test_equal_runs_and_runs_that_recorded_nothing(tmp_path: Path) -> None:
    a = made_run.make(tmp_path / "a", name="a")
    same = compare([made_run.record(a), made_run.record(a)])
    assert not any(same.differences.values())
    assert "versions: no difference" in lines(same)
    a.provenance.unlink()
    write_text(a.pipeline, "not a pipeline {")
    old = lines(compare([made_run.record(a), made_run.record(a)]))
    assert "data: not recorded" in old
    assert "versions: not recorded" in old
    assert "pipeline: not recorded" in old


def test_names_that_are_alike_and_values_that_are_long() -> None:
    assert labels(["a", "b", "a"]) == ["a (1)", "b", "a (2)"]
    long = "/a/very/long/path" * 10 + "/end"
    assert len(cut(long)) <= 48
    assert cut(long).endswith("/end")
