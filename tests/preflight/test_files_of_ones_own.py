"""What a pipeline.config says and this run does not do, each with a finding of its own."""

from pathlib import Path
from typing import Any

import pytest

from launcher.errors import SpecError
from launcher.odapi import label_map
from launcher.planning import make_plan
from launcher.preflight import Severity
from launcher.spec import load
from tests.preflight.own_files import cosine, found, only, own_file


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = own_file(tmp_path)
    before = found(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert found(path) == before


@pytest.mark.parametrize(("rate", "text"), [("inf", "inf"), ("nan", "nan"), (-1.0, "-1")])
def test_the_rate_that_is_none_is_named(tmp_path: Path, rate: Any, text: str) -> None:
    def change(message: Any) -> None:
        cosine(message).learning_rate_base = float(rate)

    with pytest.raises(SpecError, match=f": a rate of {text}. Rates are finite"):
        make_plan(load(own_file(tmp_path, change), ("batch.lr_scaling=none",)))


def test_a_second_eval_reader(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.eval_input_reader.add().CopyFrom(message.eval_input_reader[0])

    path = own_file(tmp_path, change)
    finding = only(path, name="evaluation")
    assert finding.severity is Severity.WARNING
    assert finding.evidence.startswith("2 eval_input_reader: the first is scored")
    assert only(path, "data.val=v.record", name="evaluation").severity is Severity.INFO


def test_a_label_map_of_the_val_records_alone(tmp_path: Path) -> None:
    names = dict.fromkeys(range(1, 91))
    mine, same, other = (tmp_path / f"{name}.pbtxt" for name in ("mine", "same", "other"))
    for path in (mine, same):
        label_map.write(path, {i: f"class {i}" for i in names})
    label_map.write(other, {i: f"class {91 - i}" for i in names})

    def file(val: Path) -> Path:
        def change(message: Any) -> None:
            message.train_input_reader.label_map_path = str(mine)
            message.eval_input_reader[0].label_map_path = str(val)

        return own_file(tmp_path, change)

    assert found(file(same), name="evaluation") == []
    assert found(file(mine), name="evaluation") == []
    finding = only(file(other), name="evaluation")
    assert finding.severity is Severity.WARNING
    assert f"{other}: with other classes than {mine}" in finding.evidence
    assert finding.place.endswith(": eval_input_reader.label_map_path")
    named = only(file(other), f"data.label_map={mine}", name="evaluation")
    assert named.severity is Severity.INFO


@pytest.mark.parametrize(
    ("kept", "scored", "told"),
    [(True, False, True), (True, True, False), (False, False, False), (None, False, False)],
)
def test_an_average_that_is_never_scored(
    tmp_path: Path, kept: bool | None, scored: bool, told: bool
) -> None:
    def change(message: Any) -> None:
        optimizer = message.train_config.optimizer
        optimizer.ClearField("use_moving_average")
        if kept is not None:
            optimizer.use_moving_average = kept
        message.eval_config.use_moving_averages = scored

    path = own_file(tmp_path, change)
    findings = found(path, name="evaluation")
    assert [f.severity for f in findings] == [Severity.INFO] * told
    assert all("kept and never scored" in f.evidence for f in findings)
    assert found(path, "train.ema_decay=0.99", name="evaluation") == []


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("train_input_reader", "queue_capacity", 2000),
        ("train_input_reader", "min_after_dequeue", 1000),
        ("eval_input_reader", "prefetch_size", 512),
        ("eval_config", "visualization_export_dir", "/pictures"),
        ("eval_config", "eval_master", "grpc://a"),
        ("eval_config", "eval_instance_masks", True),
    ],
)
def test_more_of_tensorflow_1(tmp_path: Path, section: str, field: str, value: Any) -> None:
    def change(message: Any) -> None:
        for name in ("sync_replicas", "startup_delay_steps", "replicas_to_aggregate"):
            message.train_config.ClearField(name)
        message.train_config.ClearField("use_bfloat16")
        part = getattr(message, section)
        setattr(part[0] if section == "eval_input_reader" else part, field, value)

    finding = only(own_file(tmp_path, change), name="ignored-fields")
    assert finding.evidence == f"{section}.{field}: of TensorFlow 1, read by nobody"
    assert finding.place.endswith(f": {section}.{field}")
    assert ".config:" in finding.place  # with its line


def test_export_path_is_read_for_lvis(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.eval_config.export_path = "/there"

    assert all("export_path" not in f.evidence for f in found(own_file(tmp_path, change)))


@pytest.mark.parametrize("pattern", [".*", "kernel", "^back"])
def test_any_pattern_that_reaches_the_backbone_needs_its_weights(
    tmp_path: Path, pattern: str
) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("name: job\nrecipe: efficientdet_d3\n")
    asked = f"train.freeze=['{pattern}']"
    (finding,) = (f for f in found(spec, asked, name="batch-norm"))
    assert finding.severity is Severity.ERROR
    assert "no checkpoint is named: it stays as it was drawn at random" in finding.evidence
    nothing = [f for f in found(spec, asked, name="fine-tune") if "nothing is left" in f.evidence]
    assert [f.severity for f in nothing] == [Severity.ERROR] * (pattern == ".*")


@pytest.mark.parametrize("pattern", ["^heads/", "gamma", "bifpn"])
def test_patterns_of_other_parts_need_none(tmp_path: Path, pattern: str) -> None:
    spec = tmp_path / "job.yaml"
    spec.write_text("name: job\nrecipe: efficientdet_d3\n")
    assert found(spec, f"train.freeze=['{pattern}']", name="batch-norm") == []
