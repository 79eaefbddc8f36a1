"""global-batch, learning-rate, image-budget and schedule against what is known to train."""

from pathlib import Path
from typing import Any

import pytest

from launcher.planning import make_plan
from launcher.preflight import Severity, budget
from launcher.preflight.subject import subject_of
from launcher.spec import load
from tests.preflight.own_files import cosine, found, only, own_file

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO

OWN = "batch.lr_scaling=none"
"""The run takes the file's own numbers."""


def smaller(batch: int, *, rate: float = 0.08, steps: int = 300_000, warmup: int = 2500) -> Any:
    def change(message: Any) -> None:
        config, schedule = message.train_config, cosine(message)
        config.batch_size, config.num_steps = batch, steps
        schedule.learning_rate_base, schedule.total_steps = rate, steps
        schedule.warmup_steps, schedule.warmup_learning_rate = warmup, rate / 100

    return change


def recipe_spec(folder: Path, recipe: str = "efficientdet_d3") -> Path:
    path = folder / "job.yaml"
    path.write_text(f"name: job\nrecipe: {recipe}\ncluster: {{gpus_per_worker: 1}}\n")
    return path


# global-batch


def test_a_file_s_batch_is_mended_by_accumulation(tmp_path: Path) -> None:
    finding = only(own_file(tmp_path, smaller(2)), name="global-batch")
    assert finding.severity is WARNING
    assert finding.evidence == "your file's batch is 2, efficientdet_d3's is 128"
    assert finding.remedy == "Nothing: this run accumulates 1 x 2 x 64 = 128 images a step"
    assert "14 of 45.4 (D3, batch 2, #10530)" in finding.cost.text
    assert finding.place.startswith("pipeline.config:")
    assert finding.place.endswith(": train_config.batch_size")
    line = int(finding.place.split(":")[1])
    written = (tmp_path / "pipeline.config").read_text().splitlines()
    assert written[line - 1].split() == ["batch_size:", "2"]


def test_whoever_writes_the_batch_has_seen_it(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2))
    assert only(path, "batch.global_batch=128", name="global-batch").severity is INFO


@pytest.mark.parametrize(
    ("batch", "severity"),
    [(128, None), (64, INFO), (40, INFO), (32, WARNING), (24, WARNING), (16, ERROR), (2, ERROR)],
)
def test_what_others_reached_at_a_batch_decides(
    tmp_path: Path, batch: int, severity: Severity | None
) -> None:
    """40 and 88 of 128 reached the published mAP, 16 did not."""
    spec = recipe_spec(tmp_path)
    asked = (f"batch.global_batch={batch}", "batch.per_replica_batch=2")
    findings = found(spec, *asked, name="global-batch")
    assert [f.severity for f in findings] == ([severity] if severity else [])
    assert all(f.edits == ("batch.global_batch=128",) for f in findings)
    assert all("64 accumulation steps" in f.remedy for f in findings)


def test_more_than_32_times_the_batch_is_far_from_what_was_shown(tmp_path: Path) -> None:
    spec = recipe_spec(tmp_path, "faster_rcnn_resnet50_v1_800x1333")  # batch 16
    at = "batch.global_batch={}".format
    assert only(spec, at(512), name="global-batch").severity is INFO
    assert only(spec, at(544), name="global-batch").severity is WARNING


def test_a_batch_that_does_not_divide_names_no_edit(tmp_path: Path) -> None:
    spec = recipe_spec(tmp_path)
    finding = only(spec, "batch.global_batch=6", "batch.per_replica_batch=3", name="global-batch")
    assert finding.edits == ()
    assert "whose product divides 128" in finding.remedy


def test_data_of_one_s_own_are_not_stopped(tmp_path: Path) -> None:
    spec = recipe_spec(tmp_path)
    finding = only(
        spec,
        "batch.global_batch=2",
        "batch.per_replica_batch=2",
        "data.dataset=custom",
        name="global-batch",
    )
    assert finding.severity is WARNING


# learning-rate


def test_the_seed_s_rate_is_8x(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2, rate=0.01, warmup=160_000))
    finding = only(path, name="learning-rate")
    assert finding.severity is WARNING
    assert finding.evidence == (
        "0.01 at batch 2 is 8x the linear rule's 0.00125 (efficientdet_d3: 0.08 at 128)"
    )
    assert finding.place.endswith(": train_config.learning_rate_base")
    assert "0.04 in place of 0.42" in finding.cost.text
    assert finding.remedy.endswith("Without launcher: 0.00125 for a batch of 2")


def test_a_run_at_that_rate_is_wasted(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2, rate=0.01, warmup=160_000))
    finding = only(path, OWN, name="learning-rate")
    assert (finding.severity, finding.edits) == (ERROR, ("batch.lr_scaling=linear",))


@pytest.mark.parametrize(
    ("rate", "severity"),
    [
        (0.00125, None),
        (0.0013, None),
        (0.0011, WARNING),
        (0.0025, WARNING),
        (0.0049, WARNING),
        (0.005, ERROR),
        (0.0002, WARNING),
        (0.00015, ERROR),
    ],
)
def test_too_high_and_too_low(tmp_path: Path, rate: float, severity: Severity | None) -> None:
    path = own_file(tmp_path, smaller(2, rate=rate, warmup=160_000))
    assert [f.severity for f in found(path, OWN, name="learning-rate")] == (
        [severity] if severity else []
    )


def test_the_published_rate_at_batch_2_is_where_the_loss_becomes_nan(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2, warmup=160_000))
    finding = only(path, OWN, name="learning-rate")
    assert "is 64x the linear rule's" in finding.evidence
    assert finding.cost.text == "the loss becomes NaN (#10530: 0.08 at batch 2, 64x)"
    assert finding.cost.lost == 1.0


@pytest.mark.parametrize(
    ("rate", "told"), [(0.001, True), (0.0005, False), (0.0003, False), (0.00025, False)]
)
def test_adam_has_its_own_rule(tmp_path: Path, rate: float, told: bool) -> None:
    """A quarter of the batch: a quarter of the rate, by its own rule half of it, is right."""

    def change(message: Any) -> None:
        config = message.train_config
        config.batch_size, config.num_steps = 32, 560_000
        manual = config.optimizer.adam_optimizer.learning_rate.manual_step_learning_rate
        manual.initial_learning_rate = rate
        for i, drop in enumerate(manual.schedule):
            drop.step, drop.learning_rate = drop.step * 4, rate / 10 ** (i + 1)

    path = own_file(tmp_path, change, recipe="centernet_hourglass104_512")
    findings = found(path, OWN, name="learning-rate")
    assert bool(findings) is told
    assert all("what belongs to Adam there" in f.evidence for f in findings)


def test_a_warm_up_is_counted_in_images(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2, rate=0.00125))
    finding = only(path, name="learning-rate")
    assert finding.evidence == (
        "the warm-up of 2,500 steps covers 5,000 images, efficientdet_d3's 320,000: 1.6 %"
    )
    assert finding.place.endswith(": train_config.warmup_steps")
    assert finding.remedy.endswith("Without launcher: warmup_steps: 160000")
    long = own_file(tmp_path, smaller(2, rate=0.00125, steps=19_200_000, warmup=700_000))
    assert "438 %" in only(long, name="learning-rate").evidence
    for steps in (80_000, 160_000, 640_000):
        near = own_file(tmp_path, smaller(2, rate=0.00125, steps=19_200_000, warmup=steps))
        assert found(near, name="learning-rate") == []


def test_another_optimizer_has_other_rates(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        optimizer = message.train_config.optimizer
        rate = type(optimizer.adam_optimizer.learning_rate)()
        rate.CopyFrom(optimizer.momentum_optimizer.learning_rate)
        optimizer.ClearField("momentum_optimizer")
        optimizer.adam_optimizer.learning_rate.CopyFrom(rate)

    finding = only(own_file(tmp_path, change), name="learning-rate")
    assert finding.evidence.startswith("the optimizer is adam, efficientdet_d3's is momentum")


# image-budget


def test_the_seed_s_budget_is_3_percent(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(2, rate=0.01, steps=600_000))
    finding = only(path, name="image-budget")
    assert finding.severity is WARNING
    assert finding.evidence == (
        "600,000 steps x 2 images = 1.2 M of efficientdet_d3's 38.4 M images: 3.1 %"
    )
    assert finding.cost.text == ("37.2 M images are not seen: 10.1 epochs in place of 324.6")
    assert "num_steps: 19200000 at batch 2" in finding.remedy
    assert only(path, OWN, name="image-budget").severity is ERROR


@pytest.mark.parametrize(
    ("steps", "severity"),
    [(300_000, None), (280_000, None), (200_000, WARNING), (70_000, ERROR), (600_000, INFO)],
)
def test_a_part_of_the_budget(tmp_path: Path, steps: int, severity: Severity | None) -> None:
    path = own_file(tmp_path, smaller(128, steps=steps))
    findings = found(path, OWN, name="image-budget")
    assert [f.severity for f in findings] == ([severity] if severity else [])


def test_a_fine_tuning_has_a_budget_of_its_own(tmp_path: Path) -> None:
    path = own_file(tmp_path, smaller(128, steps=7000))
    weights = ("train.fine_tune_checkpoint=/w/ckpt-0", "train.fine_tune_type=full")
    assert only(path, OWN, *weights, name="image-budget").severity is INFO
    assert only(path, OWN, "data.dataset=custom", name="image-budget").severity is INFO


@pytest.mark.parametrize(
    ("images", "dataset", "told"),
    [
        (11_000, "custom", True),
        (12_000, "custom", False),
        (11_000, "coco2017", False),
        (None, "custom", False),
    ],
)
def test_the_recipe_s_budget_on_a_small_set(
    tmp_path: Path, images: int | None, dataset: str, told: bool
) -> None:
    """Ten times the epochs that COCO has."""
    spec = load(recipe_spec(tmp_path), [f"data.dataset={dataset}"])
    findings = list(budget.epochs(subject_of(make_plan(spec)), images))
    assert [f.severity for f in findings] == ([WARNING] if told else [])
    assert all(
        "are 3,491 epochs of 11,000 train images, efficientdet_d3 has 325 of COCO's" in f.evidence
        for f in findings
    )


@pytest.mark.parametrize(
    ("end", "what"),
    [
        (200_000, "the rate is 0 in the last 100,000 steps"),
        (400_000, "the training stops while the rate is"),
    ],
)
def test_num_steps_and_the_end_of_the_schedule(tmp_path: Path, end: int, what: str) -> None:
    def change(message: Any) -> None:
        cosine(message).total_steps = end

    finding = only(own_file(tmp_path, change), name="image-budget")
    assert finding.evidence.startswith(f"num_steps is 300,000, its schedule's total_steps {end:,}")
    assert what in finding.evidence
    assert "both are 300,000 in this run" in finding.remedy


# schedule


def test_a_warm_up_longer_than_the_training(tmp_path: Path) -> None:
    finding = only(own_file(tmp_path, smaller(128, warmup=300_000)), name="schedule")
    assert "300000 steps of warm-up and hold leave none of 300000" in finding.evidence
    assert finding.severity is WARNING
    half = only(own_file(tmp_path, smaller(128, warmup=160_000)), name="schedule")
    assert half.evidence == "the warm-up takes 160,000 of 300,000 steps"
    assert half.place.endswith(": train_config.warmup_steps")
    assert found(own_file(tmp_path, smaller(128, warmup=150_000)), name="schedule") == []


def test_a_warm_up_above_the_peak(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        cosine(message).warmup_learning_rate = 0.1

    finding = only(own_file(tmp_path, change), name="schedule")
    assert "warmup_learning_rate is above learning_rate_base" in finding.evidence


def test_a_boundary_past_the_end(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.train_config.num_steps = 100_000  # its rate changes at 90,000 and 120,000

    path = own_file(tmp_path, change, recipe="centernet_hourglass104_512")
    finding = only(path, OWN, name="schedule")
    assert finding.evidence == "the rate changes at step 120,000, the training ends at 100,000"
    assert only(path, name="schedule").severity is WARNING


def test_a_model_of_one_s_own_is_its_own_recipe(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        smaller(16, rate=0.5, steps=1000, warmup=10)(message)
        message.model.ssd.feature_extractor.bifpn.num_filters = 77

    names = {f.name for f in found(own_file(tmp_path, change))}
    assert names.isdisjoint({"global-batch", "learning-rate", "image-budget", "schedule"})
