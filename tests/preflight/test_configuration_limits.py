"""Where the checks of a configuration begin to speak, and the places that they name."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from launcher.preflight import Severity
from tests.preflight.own_files import cosine, found, only, own_file
from tests.preflight.test_batch_checks import OWN, smaller
from tests.preflight.test_evaluation_checks import post_processing, useless
from tests.preflight.test_fine_tune_checks import detector, spec_of

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


def with_schedule(message: Any, kind: str, **values: float) -> None:
    """Another schedule in place of the cosine one."""
    rate = message.train_config.optimizer.momentum_optimizer.learning_rate
    schedule = getattr(rate, f"{kind}_learning_rate")
    for name, value in values.items():
        setattr(schedule, name, value)


# learning-rate, image-budget, schedule


@pytest.mark.parametrize(
    ("kind", "field", "values"),
    [
        ("constant", "learning_rate", {"learning_rate": 0.5}),
        ("exponential_decay", "initial_learning_rate", {"initial_learning_rate": 0.5}),
    ],
)
def test_a_rate_is_named_as_its_schedule_calls_it(
    tmp_path: Path, kind: str, field: str, values: dict[str, float]
) -> None:
    path = own_file(tmp_path, lambda message: with_schedule(message, kind, **values))
    (rate,) = (f for f in found(path, name="learning-rate") if f.evidence.startswith("0.5 at"))
    assert rate.place.endswith(f": train_config.{field}")


def test_so_is_a_warm_up(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        values = {"initial_learning_rate": 0.08, "decay_steps": 1000, "burnin_steps": 160_000}
        with_schedule(message, "exponential_decay", **values, burnin_learning_rate=0.001)

    finding = only(own_file(tmp_path, change), name="schedule")
    assert finding.evidence == "the warm-up takes 160,000 of 300,000 steps"
    assert finding.place.endswith(": train_config.burnin_steps")


@pytest.mark.parametrize(
    ("steps", "told"), [(270_000, False), (269_000, True), (450_000, False), (451_000, True)]
)
def test_a_budget_is_the_recipe_s_from_nine_tenths_to_one_and_a_half(
    tmp_path: Path, steps: int, told: bool
) -> None:
    path = own_file(tmp_path, smaller(128, steps=steps))
    assert bool(found(path, OWN, name="image-budget")) is told


def test_the_rate_at_the_end_of_a_training_that_stops_early(tmp_path: Path) -> None:
    """A cosine from 2,500 to 400,000: 0.148 of the peak at 300,000, 0.505 at 200,000."""

    def change(message: Any) -> None:
        cosine(message).total_steps = 400_000

    finding = only(own_file(tmp_path, change), name="image-budget")
    assert finding.evidence.endswith("stops while the rate is 0.29 times that of mid-way")


@pytest.mark.parametrize(("steps", "told"), [(120_000, True), (120_001, False)])
def test_a_boundary_at_the_last_step_is_past_the_end(
    tmp_path: Path, steps: int, told: bool
) -> None:
    def change(message: Any) -> None:
        message.train_config.num_steps = steps  # its rate changes at 90,000 and 120,000

    path = own_file(tmp_path, change, recipe="centernet_hourglass104_512")
    assert bool(found(path, OWN, name="schedule")) is told


# evaluation


@pytest.mark.parametrize(("score", "told"), [(0.01, False), (0.02, True)])
def test_a_score_of_one_percent_cuts_nothing(tmp_path: Path, score: float, told: bool) -> None:
    def change(message: Any) -> None:
        post_processing(message).score_threshold = score

    assert bool(found(own_file(tmp_path, change), name="evaluation")) is told


# ignored-fields


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ("train_config", "sync_replicas"),
        ("train_config", "replicas_to_aggregate"),
        ("train_config", "startup_delay_steps"),
        ("train_config", "batch_queue_capacity"),
        ("train_config", "num_batch_queue_threads"),
        ("train_config", "prefetch_queue_capacity"),
        ("train_config", "summarize_gradients"),
        ("eval_config", "num_examples"),
        ("eval_config", "max_evals"),
        ("eval_config", "eval_interval_secs"),
        ("eval_config", "save_graph"),
        ("eval_config", "ignore_groundtruth"),
    ],
)
def test_every_field_of_tensorflow_1(tmp_path: Path, section: str, field: str) -> None:
    def change(message: Any) -> None:
        useless(message)
        setattr(getattr(message, section), field, 7)

    finding = only(own_file(tmp_path, change), name="ignored-fields")
    name = field if section == "train_config" else f"{section}.{field}"
    assert finding.evidence == f"{name}: of TensorFlow 1, read by nobody"
    assert finding.place.endswith(f": {section}.{field}")


@pytest.mark.parametrize(
    ("field", "value", "severity"),
    [
        ("freeze_variables", ["backbone"], INFO),
        ("update_trainable_variables", ["Box"], INFO),
        ("bias_grad_multiplier", 2.0, WARNING),  # of which the run does nothing either
    ],
)
def test_what_the_run_does_is_a_note_to_whoever_wrote_the_batch(
    tmp_path: Path, field: str, value: Any, severity: Severity
) -> None:
    """So that --strict lets it pass."""

    def change(message: Any) -> None:
        useless(message)
        if isinstance(value, list):
            getattr(message.train_config, field)[:] = value
        else:
            setattr(message.train_config, field, value)

    path = own_file(tmp_path, change)
    assert only(path, name="ignored-fields").severity is WARNING
    assert only(path, "batch.global_batch=128", name="ignored-fields").severity is severity


# fine-tune


def test_from_detection_checkpoint_says_the_type(tmp_path: Path) -> None:
    prefix = detector(tmp_path / "w")

    def change(message: Any) -> None:
        config = message.train_config
        config.fine_tune_checkpoint = prefix
        config.from_detection_checkpoint = True
        config.ClearField("fine_tune_checkpoint_type")
        cosine(message).learning_rate_base = 0.01

    assert found(own_file(tmp_path, change), OWN, name="fine-tune") == []


@pytest.mark.parametrize(
    ("start", "told"),
    [("detection", False), ("full", False), ("fine_tune", False), ("classification", True)],
)
def test_a_reference_that_starts_from_a_detector_keeps_its_rate(
    tmp_path: Path, start: str, told: bool
) -> None:
    prefix = detector(tmp_path / "w")

    def change(message: Any) -> None:
        message.train_config.fine_tune_checkpoint = prefix
        message.train_config.fine_tune_checkpoint_type = start

    (tmp_path / "reference").mkdir()
    reference, own = own_file(tmp_path / "reference", change), own_file(tmp_path, change)
    (tmp_path / "job.yaml").write_text(
        f"name: job\npipeline_config: {own}\nbatch: {{reference_config: {reference}}}\n"
        f"train: {{fine_tune_checkpoint: {prefix}, fine_tune_type: full}}\n"
    )
    findings = found(tmp_path / "job.yaml", name="fine-tune")
    assert [f.severity for f in findings] == ([WARNING] if told else [])
    assert all("the weights of a trained detector" in f.evidence for f in findings)


@pytest.mark.parametrize("folder", ["checkpoint's own", "the one above"])
def test_the_file_beside_a_checkpoint(tmp_path: Path, folder: str) -> None:
    prefix = detector(tmp_path / "zoo" / "checkpoint")
    beside = tmp_path / "zoo" / ("checkpoint" if folder == "checkpoint's own" else "")
    shutil.move(own_file(tmp_path, recipe="efficientdet_d0"), beside / "pipeline.config")
    spec = spec_of(tmp_path, prefix, "full")
    (finding,) = (f for f in found(spec, name="fine-tune") if f.severity is ERROR)
    assert "is of ssd_efficientnet-b0_bifpn_keras, this model is" in finding.evidence
