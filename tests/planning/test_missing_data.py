"""What submit refuses: data that is not there."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.errors import DataError, Problem, SpecError
from launcher.odapi import pipeline
from launcher.planning import make_plan, missing_data
from launcher.records import checkpoint, expand
from launcher.spec import JobSpec, load
from launcher.spec.fields import MOUNT

SPEC = """name: x
recipe: efficientdet_d0
data:
  train: t/*.record
  val: v.record
  label_map: labels.pbtxt
train:
  fine_tune_checkpoint: ckpt-0
  fine_tune_type: classification
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With everything that SPEC names, in a folder whose name is full of wildcards."""
    root = tmp_path / "a [b] * 'c';"
    (root / "t").mkdir(parents=True)
    for name in ("t/1.record", "v.record", "labels.pbtxt", "ckpt-0.data-00000-of-00001"):
        (root / name).write_text("x")
    (root / "ckpt-0.index").write_bytes(b"_CHECKPOINTABLE_OBJECT_GRAPH" + checkpoint._MAGIC)
    (root / "s.yaml").write_text(SPEC)
    return root


def spec(folder: Path, *overrides: str) -> JobSpec:
    return load(folder / "s.yaml", overrides)


def fields(problems: list[Problem], folder: Path) -> list[str]:
    return [problem.place.removeprefix(f"{folder}/s.yaml") for problem in problems]


def test_nothing_is_missing_when_all_is_there(folder: Path) -> None:
    assert missing_data(spec(folder)) == []


def test_everything_that_is_missing_is_told_at_once(folder: Path) -> None:
    for name in ("t/1.record", "v.record", "labels.pbtxt", "ckpt-0.index"):
        (folder / name).unlink()
    problems = missing_data(spec(folder))
    assert fields(problems, folder) == [
        ":4: data.train",
        ":5: data.val",
        ":6: data.label_map",
        ":8: train.fine_tune_checkpoint",
    ]
    assert "matches no file" in problems[0].what
    assert problems[2].what == f"{folder}/labels.pbtxt: no such file"
    assert "ckpt-0.index" in problems[3].what
    assert all(problem.remedy for problem in problems)


def test_a_folder_is_no_record_file(folder: Path) -> None:
    (problem,) = missing_data(spec(folder, f"data.train='{folder}/t'".replace("'c'", "''c''")))
    assert "is a folder" in problem.what
    assert problem.place == "--set data.train"


def test_data_that_nobody_named_is_missing() -> None:
    bare = JobSpec(name="x", recipe="efficientdet_d0")
    assert [p.place for p in missing_data(bare)] == ["data.train", "data.val", "data.label_map"]


def test_drawn_data_is_not_missing() -> None:
    drawn = JobSpec.model_validate(
        {"name": "x", "recipe": "efficientdet_d0", "data": {"synthetic": {}}}
    )
    assert missing_data(drawn) == []


def test_only_a_checkpoint_may_be_a_url(folder: Path) -> None:
    """TensorFlow reads it; records and label map are opened as files."""
    assert missing_data(spec(folder, "train.fine_tune_checkpoint=gs://b/ckpt-0")) == []
    asked = ("data.train=gs://b/x-*", "data.label_map=gs://b/l", "data.val=[v.record, gs://b/v]")
    with pytest.raises(SpecError) as caught:
        spec(folder, *asked)
    assert {(p.place, p.what, p.remedy) for p in caught.value.problems} == {
        ("--set data.train", "gs://b/x-* is a URL", MOUNT),
        ("--set data.label_map", "gs://b/l is a URL", MOUNT),
        ("--set data.val", "gs://b/v is a URL", MOUNT),
    }
    with pytest.raises(DataError) as worker:
        expand("gs://b/x-*")
    assert worker.value.problems[0].remedy == MOUNT  # the worker says the same


def test_urls_of_a_pipeline_config_have_their_lines(tmp_path: Path) -> None:
    """Unless the spec names other files."""
    config: Any = recipes.get("efficientdet_d0").build()
    config.train_input_reader.tf_record_input_reader.input_path[:] = ["gs://b/t-*"]
    config.eval_input_reader[0].tf_record_input_reader.input_path[:] = ["gs://b/v-*"]
    config.train_input_reader.label_map_path = "gs://b/l.pbtxt"
    path = tmp_path / "pipeline.config"
    pipeline.write(path, config)
    lines = path.read_text().splitlines()
    for ask in (missing_data, make_plan):
        with pytest.raises(SpecError) as caught:
            ask(load(path))
        told = {p.what: p.place for p in caught.value.problems}
        for name, field in (
            ("gs://b/t-*", "train_input_reader.tf_record_input_reader.input_path"),
            ("gs://b/v-*", "eval_input_reader.tf_record_input_reader.input_path"),
            ("gs://b/l.pbtxt", "train_input_reader.label_map_path"),
        ):
            (line,) = (i for i, text in enumerate(lines, 1) if f'"{name}"' in text)
            assert told[f"{name} is a URL"] == f"{path}:{line}: {field}"
        assert {p.remedy for p in caught.value.problems} == {MOUNT}
    make_plan(load(path, ["data.train=/t", "data.val=/v", "data.label_map=/l"]))


def test_the_seed_names_data_of_another_machine(shared: Path) -> None:
    problems = missing_data(load(shared / "seed" / "pipeline.config"))
    assert len(problems) == 4
    assert "/DATASETS/COCO/coco_train.record-00000-of-00100" in problems[0].what
