"""What submit refuses: data that is not there."""

from pathlib import Path

import pytest

from launcher.errors import Problem
from launcher.planning import missing_data
from launcher.records import checkpoint
from launcher.spec import JobSpec, load

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


def test_urls_are_left_to_those_who_can_open_them(folder: Path) -> None:
    there = spec(folder, "data.train=gs://b/x-*", "data.label_map=gs://b/l", "data.val=gs://b/v")
    assert missing_data(there) == []


def test_the_seed_names_data_of_another_machine(shared: Path) -> None:
    problems = missing_data(load(shared / "seed" / "pipeline.config"))
    assert len(problems) == 4
    assert "/DATASETS/COCO/coco_train.record-00000-of-00100" in problems[0].what
