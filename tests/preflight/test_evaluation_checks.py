"""evaluation and ignored-fields: what a file says and nobody does."""

import re
from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Severity, evaluation
from launcher.preflight.subject import subject_of
from launcher.spec import load
from tests.preflight.own_files import found, only, own_file


def post_processing(message: Any) -> Any:
    return message.model.ssd.post_processing.batch_non_max_suppression


def test_a_score_threshold_cuts_the_curve(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        post_processing(message).score_threshold = 0.3

    finding = only(own_file(tmp_path, change), name="evaluation")
    assert finding.severity is Severity.WARNING
    assert finding.evidence == "detections below a score of 0.3 are dropped"
    assert finding.place.endswith(": model.score_threshold")


def test_so_does_the_second_stage_of_a_faster_rcnn(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        stage = message.model.faster_rcnn.second_stage_post_processing
        stage.batch_non_max_suppression.score_threshold = 0.5

    path = own_file(tmp_path, change, recipe="faster_rcnn_resnet50_v1_640")
    assert "0.5 are dropped" in only(path, name="evaluation").evidence


@pytest.mark.parametrize(("most", "told"), [(99, True), (100, False), (300, False)])
def test_coco_counts_a_hundred_detections(tmp_path: Path, most: int, told: bool) -> None:
    def change(message: Any) -> None:
        post_processing(message).max_total_detections = most

    findings = found(own_file(tmp_path, change), name="evaluation")
    assert bool(findings) is told


@pytest.mark.parametrize(("most", "told"), [(100, False), (101, True), (None, False)])
def test_more_objects_than_are_trained_on(tmp_path: Path, most: int | None, told: bool) -> None:
    subject = subject_of(make_plan(load(own_file(tmp_path))))
    findings = list(evaluation.crowded(subject, most))
    assert bool(findings) is told
    assert all("has 101 objects, 100 of an image" in f.evidence for f in findings)


def test_the_boxes_of_train_config_are_not_read(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.train_config.max_number_of_boxes = 300

    finding = only(own_file(tmp_path, change), name="evaluation")
    assert finding.severity is Severity.INFO
    assert "300 boxes, which TensorFlow 2 does not read: 100 count" in finding.evidence

    def both(message: Any) -> None:
        change(message)
        message.train_input_reader.max_number_of_boxes = 300

    assert found(own_file(tmp_path, both), name="evaluation") == []


def test_sampled_readers_leave_images_out(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.train_input_reader.sample_1_of_n_examples = 4
        message.eval_input_reader[0].sample_1_of_n_examples = 10

    path = own_file(tmp_path, change)
    assert "the OD API trains on one image of 4" in only(path, name="image-budget").evidence
    assert "the OD API scores one image of 10" in only(path, name="evaluation").evidence


def test_metrics_set(tmp_path: Path) -> None:
    def other(message: Any) -> None:
        message.eval_config.metrics_set[:] = ["pascal_voc_detection_metrics"]

    finding = only(own_file(tmp_path, other), name="evaluation")
    assert finding.severity is Severity.WARNING
    assert "metrics_set is pascal_voc_detection_metrics" in finding.evidence

    def missing(message: Any) -> None:
        message.eval_config.ClearField("metrics_set")

    assert only(own_file(tmp_path, missing), name="evaluation").severity is Severity.INFO


def test_a_batch_of_images_that_differ_in_shape(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.eval_config.batch_size = 8

    assert found(own_file(tmp_path, change), name="evaluation") == []  # padded to 896 x 896

    def unpadded(message: Any) -> None:
        change(message)
        resizer = message.model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer
        resizer.max_dimension, resizer.pad_to_max_dimension = 1024, False

    path = own_file(tmp_path, unpadded, recipe="faster_rcnn_resnet50_v1_640")
    finding = only(path, "batch.per_replica_batch=1", name="evaluation")
    assert "eval_config.batch_size is 8, images differ in shape" in finding.evidence


# ignored-fields


@pytest.mark.parametrize(
    ("field", "value", "severity"),
    [
        ("freeze_variables", ["backbone"], Severity.WARNING),
        ("update_trainable_variables", ["Box"], Severity.WARNING),
        ("bias_grad_multiplier", 2.0, Severity.WARNING),
        ("keep_checkpoint_every_n_hours", 2.0, Severity.INFO),
    ],
)
def test_fields_that_tensorflow_2_does_not_read(
    tmp_path: Path, field: str, value: Any, severity: Severity
) -> None:
    def change(message: Any) -> None:
        useless(message)
        if isinstance(value, list):
            getattr(message.train_config, field)[:] = value
        else:
            setattr(message.train_config, field, value)

    finding = only(own_file(tmp_path, change), name="ignored-fields")
    assert finding.severity is severity
    assert finding.evidence.startswith(f"{field} is not read in TensorFlow 2")
    assert finding.place.endswith(f": train_config.{field}")


def test_those_that_mean_another_model(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        useless(message)
        message.train_config.load_all_detection_checkpoint_vars = True
        message.graph_rewriter.quantization.delay = 48_000

    heads, eight_bits = found(own_file(tmp_path, change), name="ignored-fields")
    assert heads.place.endswith(": train_config.load_all_detection_checkpoint_vars")
    assert heads.remedy == "Here train.fine_tune_type full does it"
    assert eight_bits.severity is Severity.WARNING
    assert eight_bits.evidence.startswith("graph_rewriter is not read in TensorFlow 2")
    assert re.search(r"^pipeline.config:\d+: graph_rewriter$", eight_bits.place)


def useless(message: Any) -> None:
    """Without those of the published file."""
    for field in ("sync_replicas", "startup_delay_steps", "replicas_to_aggregate", "use_bfloat16"):
        message.train_config.ClearField(field)


def test_those_of_tensorflow_1_are_one_note(tmp_path: Path) -> None:
    tpu, finding = found(own_file(tmp_path), name="ignored-fields")
    assert (tpu.severity, finding.severity) == (Severity.INFO, Severity.INFO)
    assert tpu.evidence == "use_bfloat16 is for TPUs: the OD API ignores it without a word"
    assert finding.evidence == (
        "sync_replicas, startup_delay_steps, replicas_to_aggregate: of TensorFlow 1, read by nobody"
    )

    def scored(message: Any) -> None:
        useless(message)
        message.eval_config.num_examples = 8000

    finding = only(own_file(tmp_path, scored), name="ignored-fields")
    assert finding.evidence.startswith("eval_config.num_examples: of TensorFlow 1")
    assert found(own_file(tmp_path, useless), name="ignored-fields") == []


def test_a_recipe_has_no_file_to_judge(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("name: job\nrecipe: efficientdet_d3\n")
    assert found(tmp_path / "job.yaml", name="ignored-fields") == []
