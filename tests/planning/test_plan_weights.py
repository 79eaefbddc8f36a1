"""Starting weights and frozen variables as far as a plan knows them: no TensorFlow."""

from pathlib import Path

import pytest

from launcher.errors import SpecError
from launcher.odapi import pipeline
from launcher.planning import make_plan, missing_data
from launcher.planning.table import table
from launcher.records import checkpoint
from launcher.spec import JobSpec, from_mapping, load

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write_checkpoint(prefix: Path, *, graph: bool = True) -> None:
    """Files that look like TensorFlow's; tests/runtime/test_fine_tune.py takes real ones."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = b"\0\x1c\x05_CHECKPOINTABLE_OBJECT_GRAPH" if graph else b"conv/weights"
    Path(f"{prefix}.index").write_bytes(names + checkpoint._MAGIC)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(b"x")


def flaw(prefix: Path | str) -> tuple[str, str]:
    found = checkpoint.flaw(str(prefix))
    assert found is not None
    return found


def test_a_checkpoint_without_a_flaw(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "ckpt-0")
    assert checkpoint.flaw(str(tmp_path / "ckpt-0")) is None


@pytest.mark.parametrize("given", ["ckpt-0.index", "ckpt-0.data-00000-of-00001", "", "ckpt-1"])
def test_a_path_that_is_none_names_the_one_that_was_meant(tmp_path: Path, given: str) -> None:
    write_checkpoint(tmp_path / "ckpt-0")
    what, remedy = flaw(tmp_path / given)
    assert what == f"no such checkpoint ({tmp_path / given}.index)"
    assert remedy == f"Did you mean {tmp_path / 'ckpt-0'}?"


def test_the_folder_of_a_tarball_of_the_zoo(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "d0" / "checkpoint" / "ckpt-0")
    assert flaw(tmp_path / "d0")[1] == f"Did you mean {tmp_path / 'd0/checkpoint/ckpt-0'}?"
    assert flaw("/nowhere/ckpt")[1].startswith("Give the checkpoint's path without .index")


def test_files_that_cannot_be_restored(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.ckpt", graph=False)
    assert flaw(tmp_path / "model.ckpt")[0] == "a checkpoint of TensorFlow 1: names, no objects"
    prefix = tmp_path / "ckpt-0"
    write_checkpoint(prefix)
    data = Path(f"{prefix}.data-00000-of-00001")
    data.rename(f"{prefix}.data-00001-of-00002")
    assert flaw(prefix)[0] == "ckpt-0.data-00000-of-00002 is missing beside ckpt-0.index"
    Path(f"{prefix}.data-00001-of-00002").unlink()
    assert flaw(prefix)[0] == "ckpt-0.data-00000-of-00001 is missing beside ckpt-0.index"
    Path(f"{prefix}.index").write_bytes(b"no table")
    assert flaw(prefix)[0].endswith(
        "ckpt-0.index is not the index of a checkpoint, or is cut short"
    )


def test_submit_refuses_it_with_the_field(tmp_path: Path) -> None:
    train = {"fine_tune_checkpoint": str(tmp_path / "model.ckpt"), "fine_tune_type": "full"}
    write_checkpoint(tmp_path / "model.ckpt", graph=False)
    spec = from_mapping({"name": "x", "recipe": "efficientdet_d0", "train": train})
    (problem,) = [p for p in missing_data(spec) if "fine_tune" in p.place]
    assert problem.place == "train.fine_tune_checkpoint"
    assert problem.what == f"{tmp_path}/model.ckpt: a checkpoint of TensorFlow 1: names, no objects"


def demo(folder: Path, **train_config: object) -> JobSpec:
    """The demo's pipeline.config with fields of its train_config set."""
    message = pipeline.read(CONFIGS / "demo.config")
    for field, value in train_config.items():
        if isinstance(value, list):
            getattr(message.train_config, field)[:] = value
        else:
            setattr(message.train_config, field, value)
    pipeline.write(folder / "p.config", message)
    return load(folder / "p.config", ("batch.per_replica_batch=8",))


def line_with(folder: Path, text: str) -> str:
    """The file and the number of its only line with this text."""
    lines = (folder / "p.config").read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines, 1) if text in line)
    return f"{folder}/p.config:{number}"


def test_a_version_other_than_v2_is_refused(tmp_path: Path) -> None:
    spec = demo(tmp_path, fine_tune_checkpoint="/c/model.ckpt", fine_tune_checkpoint_version=1)
    with pytest.raises(SpecError) as caught:
        make_plan(spec)
    assert str(caught.value) == (
        f"{tmp_path}/p.config:160: train_config.fine_tune_checkpoint_version: is not V2, and "
        "TensorFlow 2 reads no other. Use a checkpoint that TensorFlow 2 saved, and write V2"
    )
    spec = demo(tmp_path, fine_tune_checkpoint="/c/ckpt-0", fine_tune_checkpoint_version=2)
    assert make_plan(spec).fine_tune is not None


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [
        ("clasification", "Did you mean classification?"),
        ("fine_tune", "Known here: classification, detection, full"),
    ],
)
def test_a_kind_that_nobody_restores_is_refused(tmp_path: Path, kind: str, remedy: str) -> None:
    spec = demo(tmp_path, fine_tune_checkpoint="/c/ckpt-0", fine_tune_checkpoint_type=kind)
    with pytest.raises(SpecError) as caught:
        make_plan(spec)
    place = f"{line_with(tmp_path, '_type')}: train_config.fine_tune_checkpoint_type"
    known = "is none of classification, detection, full"
    assert str(caught.value) == f'{place}: "{kind}" {known}. {remedy}'


def test_frozen_variables_reach_the_workers(tmp_path: Path) -> None:
    spec = from_mapping(
        {"name": "x", "recipe": "efficientdet_d0", "train": {"freeze": ["efficientnet", "bifpn"]}}
    )
    plan = make_plan(spec)
    config = pipeline.parse(plan.pipeline_text, "plan").train_config
    assert list(config.freeze_variables) == ["efficientnet", "bifpn"]
    (row,) = [row for row in table(plan) if row.quantity == "frozen"]
    assert (row.run, row.why) == ("2 patterns", "efficientnet, bifpn")
    assert not [row for row in table(make_plan(from_mapping(
        {"name": "x", "recipe": "efficientdet_d0"}
    ))) if row.quantity == "frozen"]  # fmt: skip


def test_the_file_s_own_patterns_are_kept_unless_the_spec_has_some(tmp_path: Path) -> None:
    spec = demo(tmp_path, freeze_variables=["Conv1"], update_trainable_variables=["Box"])
    assert make_plan(spec).frozen == ("not Box", "Conv1")
    spec = load(tmp_path / "p.config", ("batch.per_replica_batch=8", "train.freeze=block_1"))
    assert make_plan(spec).frozen == ("not Box", "block_1")


def test_a_pattern_of_the_file_that_is_none(tmp_path: Path) -> None:
    spec = demo(tmp_path, freeze_variables=["Conv(1"])
    with pytest.raises(SpecError, match=r'train_config: freeze_variables: "Conv\(1" is no regular'):
        make_plan(spec)
