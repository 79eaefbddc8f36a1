"""batch-norm: images of a statistic, and the best remedy that model and devices allow."""

from pathlib import Path
from typing import Any

import pytest

from launcher.planning.norm_evidence import effect
from launcher.preflight import Severity
from tests.preflight.own_files import found, only, own_file

NAME = "batch-norm"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(
        "name: job\nrecipe: efficientdet_d3\ncluster: {gpus_per_worker: 1}\n"
        "train: {fine_tune_checkpoint: w/ckpt-0, fine_tune_type: classification}\n"
    )
    return path


def told(kind: str, images: int) -> str:
    measured = effect(kind, images)
    assert measured is not None
    return measured.text


def test_two_images_as_batch_norm_are_noise(spec: Path) -> None:
    finding = only(spec, "batch.per_replica_batch=2", "train.norm=batch", name=NAME)
    assert finding.severity is Severity.ERROR
    assert finding.evidence == (
        "2 images a statistic, 4 in efficientdet_d3: accumulation does not mend that"
    )
    assert finding.cost.text == told("batch", 2)
    assert finding.edits == ("train.norm=moving",)


def test_more_images_come_first_and_recomputation_makes_room(spec: Path) -> None:
    finding = only(spec, "batch.per_replica_batch=2", name=NAME)
    assert finding.severity is Severity.WARNING
    assert finding.remedy.startswith(
        "First batch.per_replica_batch: 4 where memory allows, with train.recompute: true"
    )
    assert "or 2 GPUs, over which moments are shared" in finding.remedy
    assert finding.remedy.endswith("Else keep train.norm: moving")
    recomputed = only(spec, "batch.per_replica_batch=2", "train.recompute=true", name=NAME)
    assert "train.recompute" not in recomputed.remedy


def test_what_is_asked_for_by_name_is_a_note(spec: Path) -> None:
    finding = only(spec, "batch.per_replica_batch=2", "train.norm=moving", name=NAME)
    assert finding.severity is Severity.INFO


@pytest.mark.parametrize("kind", ["moving", "renorm", "group"])
def test_each_norm_has_its_own_figures(spec: Path, kind: str) -> None:
    finding = only(spec, "batch.per_replica_batch=2", f"train.norm={kind}", name=NAME)
    assert finding.severity is Severity.INFO
    assert finding.cost.text.startswith(told(kind, 2))
    assert "; batch norm over so few keeps " in finding.cost.text


def test_moving_over_one_micro_batch_is_batch_norm(spec: Path) -> None:
    asked = ("batch.per_replica_batch=2", "batch.global_batch=2", "train.norm=moving")
    finding = only(spec, *asked, name=NAME)
    assert finding.severity is Severity.ERROR
    assert "train.norm: moving averages over the 2 images of a step" in finding.evidence
    assert finding.edits == ("train.norm=renorm",)
    assert only(spec, *asked, "batch.global_batch=4", name=NAME).severity is Severity.INFO
    d0 = (*asked, "batch.global_batch=4", "recipe=efficientdet_d0")  # 16 are wanted
    finding = only(spec, *d0, name=NAME)
    assert finding.severity is Severity.WARNING
    assert "averages over the 4 images of a step" in finding.evidence
    assert finding.cost.text == told("batch", 4)


def test_auto_is_never_batch_norm_under_another_name(spec: Path) -> None:
    asked = ("batch.per_replica_batch=2", "batch.global_batch=2")
    finding = only(spec, *asked, name=NAME)
    assert finding.severity is Severity.WARNING
    assert "normalizes with train.norm: renorm" in finding.evidence


def test_a_trained_detector_s_statistics_are_the_better_remedy(spec: Path) -> None:
    asked = ("batch.per_replica_batch=2", "train.norm=batch", "train.fine_tune_type=full")
    assert only(spec, *asked, name=NAME).edits == ("train.norm=frozen",)


def test_moments_of_all_replicas_when_they_are_switched_off(spec: Path) -> None:
    asked = ("batch.per_replica_batch=2", "cluster.gpus_per_worker=8", "train.norm=batch")
    assert found(spec, *asked, name=NAME) == []  # 16 images
    finding = only(spec, *asked, "train.sync_batch_norm=false", name=NAME)
    assert finding.edits == ("train.sync_batch_norm=auto",)
    assert "train.sync_batch_norm: auto, over all replicas" in finding.remedy


@pytest.mark.parametrize("images", [4, 8, 16])
def test_as_many_as_in_the_recipe_are_enough(spec: Path, images: int) -> None:
    asked = f"batch.per_replica_batch={images}"
    assert found(spec, asked, name=NAME) == []
    assert found(spec, asked, "train.norm=batch", name=NAME) == []


def test_four_of_sixteen_cost_less(tmp_path: Path) -> None:
    path = tmp_path / "d0.yaml"
    path.write_text("name: d0\nrecipe: efficientdet_d0\ntrain: {norm: batch}\n")
    finding = only(path, "batch.per_replica_batch=4", name=NAME)
    assert finding.severity is Severity.WARNING
    assert finding.cost.text == told("batch", 4)


def test_thirty_two_of_sixty_four_are_enough(tmp_path: Path) -> None:
    path = tmp_path / "ssd.yaml"
    path.write_text("name: ssd\nrecipe: ssd_mobilenet_v2_320\n")
    assert found(path, "batch.per_replica_batch=32", name=NAME) == []
    assert found(path, "batch.per_replica_batch=16", name=NAME) != []


def test_eight_are_advised_without_a_recipe(tmp_path: Path) -> None:
    def change(message: Any) -> None:
        message.model.ssd.feature_extractor.bifpn.num_filters = 77

    path = own_file(tmp_path, change)
    assert "4 images a statistic, 8 advised" in (
        only(path, "batch.per_replica_batch=4", name=NAME).evidence
    )
    assert found(path, "batch.per_replica_batch=8", name=NAME) == []


@pytest.mark.parametrize("asked", ["train.norm=frozen", "train.freeze=['^backbone/']"])
def test_what_is_frozen_must_have_been_trained(tmp_path: Path, spec: Path, asked: str) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text("name: bare\nrecipe: efficientdet_d3\n")
    finding = only(bare, asked, name=NAME)
    assert finding.severity is Severity.ERROR
    assert "no checkpoint is named: it stays as it was drawn at random" in finding.evidence
    assert found(spec, asked, "train.fine_tune_type=full", name=NAME) == []
    assert found(bare, "train.freeze=['ClassPredictor']", name=NAME) == []


def test_a_backbone_s_checkpoint_has_the_statistics_of_a_part(spec: Path) -> None:
    finding = only(spec, "train.norm=frozen", name=NAME)
    assert (finding.severity, finding.edits) == (Severity.WARNING, ("train.norm=auto",))
    assert "a classification checkpoint has the statistics of a part" in finding.evidence


def test_the_od_api_does_not_synchronise_nor_freeze_an_efficientnet(tmp_path: Path) -> None:
    def synchronised(message: Any) -> None:
        hyperparams = message.model.ssd.feature_extractor.conv_hyperparams
        hyperparams.sync_batch_norm.CopyFrom(hyperparams.batch_norm)

    finding = only(own_file(tmp_path, synchronised), name=NAME)
    assert (finding.severity, finding.place) == (
        Severity.INFO,
        f"pipeline.config:{line(tmp_path, 'sync_batch_norm')}: model.sync_batch_norm",
    )

    def frozen(message: Any) -> None:
        message.model.ssd.freeze_batchnorm = True

    finding = only(own_file(tmp_path, frozen), name=NAME)
    assert finding.evidence.startswith("freeze_batchnorm does not reach the EfficientNet backbone")
    assert found(own_file(tmp_path, frozen, recipe="ssd_resnet50_v1_fpn_640"), name=NAME) == []


def line(folder: Path, word: str) -> int:
    lines = (folder / "pipeline.config").read_text().splitlines()
    return 1 + next(i for i, text in enumerate(lines) if word in text)
