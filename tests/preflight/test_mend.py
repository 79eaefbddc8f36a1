"""A mended spec: what it changes, that it passes, and what cannot be mended."""

import glob
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Finding, Options, check
from launcher.preflight.mend import Mended, mend, mended_text
from launcher.records import expand
from launcher.spec import load
from tests.preflight import seed_like
from tests.preflight.own_files import own_file
from tests.preflight.test_batch_checks import smaller
from tests.preflight.test_fine_tune_checks import classifier, detector

Mend = Callable[..., Mended]


def mended(path: Path, *overrides: str) -> Mended:
    options = Options(sample=0)

    def look(plan: Any) -> Any:
        return check(plan, options)

    return mend(path, overrides, look(make_plan(load(path, overrides))), look)


def others(findings: Iterable[Finding]) -> list[str]:
    """Without those of records and a label map that these specs do not name."""
    return [f.name for f in findings if not f.evidence.endswith(" is not set")]


def rewritten(path: Path, folder: Path, *overrides: str) -> Path:
    target = folder / "mended.yaml"
    target.write_text(mended_text(path, mended(path, *overrides), overrides, folder))
    return target


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coco")
    seed_like.make_data(folder)
    return folder


COUNTS = ("data.train_images=200", "data.val_images=100", "evaluate.target_map=45.4")
"""A small stand-in for COCO, with its target named."""


@pytest.mark.skipif(not seed_like.SEED.exists(), reason="needs the issue's pipeline.config")
def test_the_seed_s_file_becomes_a_spec_that_passes(tmp_path: Path, data: Path) -> None:
    path = seed_like.config(tmp_path, data)
    found = mended(path, "batch.per_replica_batch=2", *COUNTS)
    assert set(found.edits) == {
        "batch.global_batch=128",
        "train.norm=moving",
        f"data.train={data}/coco_train.record-?????-of-00100",
        f"data.val={data}/coco_val.record-?????-of-00050",
    }
    assert (found.report.errors, found.report.warnings) == ((), ())
    target = rewritten(path, tmp_path, "batch.per_replica_batch=2", *COUNTS)
    report = check(make_plan(load(target)), Options(sample=0))
    assert (report.errors, report.warnings) == ((), ())
    plan = make_plan(load(target))
    assert (plan.global_batch, plan.per_replica_batch, plan.learning_rate) == (128, 2, 0.08)


def test_numbers_of_one_s_own_are_mended_together(tmp_path: Path) -> None:
    """Rate, batch, steps and norm."""
    prefix = classifier(tmp_path / "w")

    def change(message: Any) -> None:
        smaller(2, rate=0.01, steps=600_000)(message)
        message.train_config.fine_tune_checkpoint = prefix

    path = own_file(tmp_path, change)
    asked = ("batch.lr_scaling=none", "train.norm=batch")
    found = mended(path, *asked)
    assert set(found.edits) == {
        "batch.lr_scaling=linear",
        "batch.global_batch=128",
        "train.norm=moving",
    }
    assert found.report.errors == ()
    plan = make_plan(load(rewritten(path, tmp_path, *asked)))
    assert (plan.global_batch, plan.learning_rate, plan.total_steps) == (128, 0.08, 300_000)


def test_what_a_remedy_uncovers_is_mended_too(tmp_path: Path) -> None:
    """A full checkpoint's statistics would be frozen. It is a classifier's: they cannot be."""
    prefix = classifier(tmp_path / "w")
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: job\nrecipe: efficientdet_d3\nbatch: {per_replica_batch: 2}\n"
        f"train: {{fine_tune_checkpoint: {prefix}, fine_tune_type: full, norm: batch}}\n"
    )
    found = mended(path)
    assert set(found.edits) == {
        f"train.fine_tune_checkpoint={prefix}",
        "train.fine_tune_type=classification",
        "train.norm=moving",
    }
    assert (others(found.report.errors), found.report.warnings) == ([], ())


def test_comments_of_a_spec_stay(tmp_path: Path) -> None:
    prefix = detector(tmp_path / "w")
    path = tmp_path / "job.yaml"
    path.write_text(
        "# mine\nname: job  # its name\nrecipe: efficientdet_d3\n"
        f"train:\n  fine_tune_checkpoint: w/{Path(prefix).name}\n"
        "  fine_tune_type: classification  # I think\n"
    )
    text = mended_text(path, mended(path), (), tmp_path)
    assert text.startswith("# mine\nname: job  # its name\nrecipe: efficientdet_d3\n")
    assert "  fine_tune_type: detection  # I think\n" in text


def test_relative_paths_are_written_whole_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    path = folder / "job.yaml"
    path.write_text("name: job\nrecipe: efficientdet_d3\ndata: {train: ../d/t-*, val: ../d/v-*}\n")
    assert "train: ../d/t-*," in mended_text(path, mended(path), (), folder)
    there = mended_text(path, mended(path), (), tmp_path)
    assert f"train: {tmp_path}/d/t-*, val: {tmp_path}/d/v-*" in there
    (tmp_path / "job.yaml").write_text(there)
    assert load(tmp_path / "job.yaml").data == load(path).data


def test_absolute_paths_are_left_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    path = folder / "job.yaml"
    path.write_text(
        "name: job\nrecipe: efficientdet_d3\nrun_dir: /runs/\n"
        "data: {train: /d/t-*, val: ['/d/a/../v-0*', v-1], label_map: ~/l.pbtxt}\n"
    )
    there = mended_text(path, mended(path), (), tmp_path)
    assert "run_dir: /runs/\n" in there
    assert f"{{train: /d/t-*, val: [/d/a/../v-0*, {folder}/v-1], label_map: ~/l.pbtxt}}" in there


def test_what_was_set_on_the_command_line_is_written_down(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: job\nrecipe: efficientdet_d3\n")
    target = rewritten(path, tmp_path, "cluster.gpus_per_worker=2", "train.seed=3")
    spec = load(target)
    assert (spec.cluster.gpus_per_worker, spec.train.seed) == (2, 3)


def test_what_has_no_remedy_in_a_spec_is_left(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: job\nrecipe: efficientdet_d3\n"
        "train: {fine_tune_checkpoint: gone/ckpt-0, fine_tune_type: classification}\n"
    )
    found = mended(path)
    assert found.edits == ()
    assert others(found.report.errors) == ["fine-tune"]
    assert mended_text(path, found, (), tmp_path) == path.read_text()


ODD = ("run #1", "a: b", "20240115", "it's, [so]", 'say "so"', "- x", "\u00e9", "a\nb")


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_yaml_would_read_otherwise(tmp_path: Path, data: Path, name: str) -> None:
    """In the path of the pipeline.config, as the name of the job, and in that of the shards."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "set").symlink_to(data)
    classes, prefix = f"{data}/classes.pbtxt", detector(folder / "w")

    def change(message: Any) -> None:
        message.train_config.fine_tune_checkpoint = prefix
        message.train_config.fine_tune_checkpoint_type = "classification"
        for reader, shard in (
            (message.train_input_reader, "coco_train.record-00000-of-00100"),
            (message.eval_input_reader[0], "coco_val.record-00000-of-00050"),
        ):
            reader.tf_record_input_reader.input_path[:] = [glob.escape(f"{folder}/set/{shard}")]
            reader.label_map_path = classes

    path = own_file(folder, change)
    target = rewritten(path, tmp_path, *COUNTS)
    before, after = load(path), load(target)
    assert (after.name, after.pipeline_config) == (before.name, before.pipeline_config)
    pattern = glob.escape(f"{folder}/set/") + "coco_train.record-?????-of-00100"
    assert after.data.train == (pattern,)
    assert len(expand(after.data.train)) == 100
    assert (after.train.fine_tune_checkpoint, after.train.fine_tune_type) == (prefix, "detection")
    assert target.read_text().splitlines()[1].startswith("name: ")  # one line of comment


def test_a_line_break_in_a_file_s_name(tmp_path: Path) -> None:
    path = own_file(tmp_path).rename(tmp_path / "a\nname: b.config")
    target = rewritten(path, tmp_path)
    assert target.read_text().startswith('# A job on "a\\nname: b.config", as')
    assert load(target).pipeline_config == path
