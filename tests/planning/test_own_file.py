"""What is wrong in a pipeline.config of one's own: refused by the plan, with its file and line."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.errors import CliExit, SpecError
from launcher.odapi import pipeline
from launcher.odapi.normalizers import Normalizer, scale_of_sum
from launcher.planning import make_plan, missing_data
from launcher.spec import from_mapping, load

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
"""Matches no recipe."""


def demo() -> Any:
    return pipeline.read(DEMO)


def published(recipe: str = "ssd_mobilenet_v2_fpnlite_320") -> Any:
    return pipeline.parse(pipeline.to_text(recipes.get(recipe).build()), place=recipe)


def message_of(folder: Path, own: Any, *overrides: str) -> str:
    """The refusal of a plan, without the folder."""
    path = folder / "own.config"
    pipeline.write(path, own)
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, overrides))
    assert caught.value.cli_exit == CliExit.USAGE
    return str(caught.value).replace(f"{folder}/", "")


def line(folder: Path, text: str) -> int:
    """Of the only one in the file that holds `text`."""
    lines = (folder / "own.config").read_text().splitlines()
    (number,) = [i for i, line in enumerate(lines, 1) if text in line]
    return number


@pytest.mark.parametrize("own", [demo(), published()], ids=["alone", "of a recipe"])
@pytest.mark.parametrize("decay", [0, -1, 1, 1.5, float("nan")])
def test_an_average_that_is_none(tmp_path: Path, own: Any, decay: float) -> None:
    own.eval_config.use_moving_averages = True
    own.train_config.optimizer.use_moving_average = True
    own.train_config.optimizer.moving_average_decay = decay
    message = message_of(tmp_path, own, "data.synthetic={}")
    assert message == (
        f"own.config:{line(tmp_path, 'moving_average_decay')}: "
        f"train_config.optimizer.moving_average_decay: must be between 0 and 1, not {decay:g}. "
        "Use a number such as 0.9998, or eval_config.use_moving_averages: false"
    )
    # Not where it is not used.
    path = tmp_path / "own.config"
    spec = load(path, ("data.synthetic={}", "train.ema_decay=0.9"))
    assert make_plan(spec).worker_config.ema_decay == 0.9
    own.eval_config.use_moving_averages = False
    pipeline.write(path, own)
    assert make_plan(load(path, ("data.synthetic={}",))).worker_config.ema_decay is None


@pytest.mark.parametrize("own", [demo(), published()], ids=["alone", "of a recipe"])
@pytest.mark.parametrize("norm", [0, -1, float("inf"), float("nan")])
def test_clipping_by_what_is_no_norm(tmp_path: Path, own: Any, norm: float) -> None:
    own.train_config.gradient_clipping_by_norm = norm
    message = message_of(tmp_path, own, "data.synthetic={}")
    assert message == (
        f"own.config:{line(tmp_path, 'gradient_clipping_by_norm')}: "
        f"train_config.gradient_clipping_by_norm: is {norm:g}. "
        "Use a norm above 0, or remove it: nothing is clipped"
    )


LOCALIZATION = (
    "Choose one, as weighted_smooth_l1 {}: weighted_l2, weighted_smooth_l1, weighted_iou, "
    "l1_localization_loss, weighted_giou"
)
CLASSIFICATION = (
    "Choose one, as weighted_sigmoid_focal {}: weighted_sigmoid, weighted_softmax, "
    "weighted_logits_softmax, bootstrapped_sigmoid, weighted_sigmoid_focal, "
    "penalty_reduced_logistic_focal_loss, weighted_dice_classification_loss"
)


def test_a_loss_that_is_not_chosen(tmp_path: Path) -> None:
    own = demo()
    own.model.ssd.loss.localization_loss.Clear()
    own.model.ssd.loss.ClearField("classification_loss")
    lines = message_of(tmp_path, own).splitlines()
    at, above = line(tmp_path, "localization_loss {"), line(tmp_path, "    loss {")
    assert lines == [
        f"own.config:{at}: model.ssd.loss.localization_loss: no loss is chosen. {LOCALIZATION}",
        f"own.config:{above}: model.ssd.loss.classification_loss: is not set. {CLASSIFICATION}",
    ]
    own.model.ssd.ClearField("loss")
    lines = message_of(tmp_path, own).splitlines()
    above = line(tmp_path, "  ssd {")
    assert [row.split(": ")[0] for row in lines] == [f"own.config:{above}"] * 2


def test_the_losses_of_each_task_of_a_center_net(tmp_path: Path) -> None:
    own = published("centernet_resnet50_v1_fpn_512_kpts")
    tasks = own.model.center_net
    tasks.object_center_params.classification_loss.Clear()
    tasks.object_detection_task.ClearField("localization_loss")
    tasks.keypoint_estimation_task[0].loss.localization_loss.Clear()
    places = [row.split(": ")[1] for row in message_of(tmp_path, own).splitlines()]
    assert sorted(places) == [
        "model.center_net.keypoint_estimation_task.loss.localization_loss",
        "model.center_net.object_center_params.classification_loss",
        "model.center_net.object_detection_task.localization_loss",
    ]
    own.model.center_net.ClearField("object_center_params")
    assert "model.center_net.object_center_params.classification_loss: is not set" in message_of(
        tmp_path, own
    )


@pytest.mark.tensorflow
def test_what_is_refused_the_od_api_cannot_build_and_nothing_else(tmp_path: Path) -> None:
    """A Faster R-CNN has a loss of its own where the file names none."""
    from launcher.odapi import compat

    compat.load()
    from object_detection.builders import model_builder

    ssd, center_net = demo(), published("centernet_resnet101_v1_fpn_512")
    ssd.model.ssd.loss.localization_loss.Clear()
    center_net.model.center_net.object_detection_task.ClearField("localization_loss")
    for own in (ssd, center_net):
        assert ".localization_loss: " in message_of(tmp_path, own)
        with pytest.raises(ValueError, match="Empty loss config"):
            model_builder.build(own.model, is_training=True)
    rcnn = published("faster_rcnn_resnet50_v1_640")
    rcnn.model.faster_rcnn.ClearField("second_stage_classification_loss")
    pipeline.write(tmp_path / "own.config", rcnn)
    assert make_plan(load(tmp_path / "own.config"))
    model_builder.build(rcnn.model, is_training=True)


def test_every_published_file_is_sound(shared: Path) -> None:
    files = sorted((shared / "zoo").glob("*.config"))
    assert len(files) == 36
    for file in files:
        assert make_plan(load(file)).total_steps > 0


def test_moments_of_statistics_that_stand_still(tmp_path: Path) -> None:
    own = demo()
    own.model.ssd.freeze_batchnorm = True
    asked = ("train.sync_batch_norm=true", "train.statistics_images=4")
    lines = message_of(tmp_path, own, *asked).splitlines()
    at = f"own.config:{line(tmp_path, 'freeze_batchnorm')}: model.ssd.freeze_batchnorm"
    still = f"the model's statistics stand still ({at})"
    assert lines == [
        f"--set train.sync_batch_norm: {still}: none to share. Remove the key",
        f"--set train.statistics_images: {still}: none are taken. Remove the key",
    ]
    path = tmp_path / "own.config"
    assert not make_plan(load(path)).norm.trained
    assert not make_plan(load(path, ("train.sync_batch_norm=false",))).norm.trained


def test_the_same_of_a_faster_rcnn(tmp_path: Path) -> None:
    own = published("faster_rcnn_resnet50_v1_640")
    own.model.faster_rcnn.feature_extractor.batch_norm_trainable = False
    (row,) = message_of(tmp_path, own, "train.sync_batch_norm=true").splitlines()
    assert "model.faster_rcnn.feature_extractor.batch_norm_trainable): none to share" in row


def test_a_checkpoint_that_the_file_names_is_missing_there(tmp_path: Path) -> None:
    own = demo()
    own.train_config.fine_tune_checkpoint = "/nowhere/ckpt-0"
    own.train_config.fine_tune_checkpoint_version = 2
    pipeline.write(tmp_path / "own.config", own)
    values = {"name": "x", "pipeline_config": "own.config"}
    (problem,) = [
        p for p in missing_data(from_mapping(values, folder=tmp_path)) if "fine" in p.place
    ]
    at = line(tmp_path, "fine_tune_checkpoint:")
    assert problem.place == f"{tmp_path}/own.config:{at}: train_config.fine_tune_checkpoint"
    assert problem.what.startswith("/nowhere/ckpt-0: no such checkpoint (")


@pytest.mark.parametrize("asked", ["global", "micro_batch"])
def test_a_loss_without_divisor_keeps_the_sum_that_its_rate_was_tuned_for(
    tmp_path: Path, asked: str
) -> None:
    own = demo()
    assert own.train_config.batch_size == 32
    plan = plan_of(tmp_path, own, "batch.global_batch=128", f"train.loss_normalizer={asked}")
    assert plan.worker_config.loss_images is None  # the demo's is divided by its matches
    own.model.ssd.normalize_loss_by_num_matches = False
    plan = plan_of(tmp_path, own, "batch.global_batch=128", f"train.loss_normalizer={asked}")
    assert plan.normalizer is Normalizer.NOTHING
    assert plan.learning_rate == pytest.approx(4 * demo_rate())
    assert plan.worker_config.loss_images == 32
    assert scale_of_sum(32, 128) == 0.25


def demo_rate() -> float:
    optimizer = demo().train_config.optimizer.momentum_optimizer
    return float(optimizer.learning_rate.cosine_decay_learning_rate.learning_rate_base)


def plan_of(folder: Path, own: Any, *overrides: str) -> Any:
    pipeline.write(folder / "own.config", own)
    return make_plan(load(folder / "own.config", overrides))


@pytest.mark.parametrize(("batch", "held"), [(2, 2), (16, 16), (64, 64), (128, 4), (256, 128)])
def test_the_published_batch_is_that_of_all_cores(tmp_path: Path, batch: int, held: int) -> None:
    """Another batch is one's own, of a training on one device: it fits there."""
    own = published("efficientdet_d3")
    own.train_config.batch_size = batch
    pipeline.write(tmp_path / "own.config", own)
    plan = make_plan(load(tmp_path / "own.config"))
    assert (plan.per_replica_batch, plan.accumulation_steps) == (held, 128 // held)
