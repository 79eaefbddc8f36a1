"""A spec against the run that it is to continue, whole answers compared."""

from pathlib import Path
from typing import Any

import pytest

from launcher import planning, spec
from launcher.odapi import pipeline
from launcher.planning.changes import SAFE, Change, Planned, changes
from launcher.spec import JobSpec

DATA_MATTERS = "the position in the records and the scores belong to the run's data"
BATCH_MATTERS = "learning rate and number of steps belong to the run's global batch"
STEP_MATTERS = "it would change what a step computes in the middle of the run"
MODEL_MATTERS = "the checkpoints are of the run's model and schedule"


def planned(tmp_path: Path, *overrides: str, **sections: Any) -> Planned:
    values = {
        "name": "demo",
        "recipe": "ssd_mobilenet_v2_fpnlite_320",
        "data": {"synthetic": {"train_images": 64, "val_images": 8}},
        "batch": {"per_replica_batch": 16, "global_batch": 128},
        "cluster": {"workers": 2},
        "run_dir": str(tmp_path),
        **sections,
    }
    plan = planning.make_plan(spec.from_mapping(values, overrides=overrides))
    return Planned(plan.spec, plan.worker_config.to_json(), pipeline.parse(plan.pipeline_text, ""))


def test_the_same_spec_has_no_change(tmp_path: Path) -> None:
    assert changes(planned(tmp_path), planned(tmp_path)) == []


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "train.checkpoint_every.steps=50",
            [Change("train.checkpoint_every.steps", 1000, 50)],
        ),
        ("evaluate.every=last", [Change("evaluate.every", "newest", "last")]),
        ("evaluate.target_map=22", [Change("evaluate.target_map", None, 22)]),
        ("restart.max_restarts=9", [Change("restart.max_restarts", 3, 9)]),
        ("data.max_bad_records=2", [Change("data.max_bad_records", 0, 2)]),
        # The division may change: 2 x 16 x 4 = 4 x 8 x 4 = 128.
        ("batch.per_replica_batch=8", [Change("batch.per_replica_batch", 16, 8)]),
        ("cluster.workers=4", [Change("cluster.workers", 2, 4)]),
        ("batch.global_batch=64", [Change("batch.global_batch", 128, 64, BATCH_MATTERS)]),
        ("batch.lr_scaling=none", [Change("batch.lr_scaling", "linear", "none", BATCH_MATTERS)]),
        (
            "data.synthetic.train_images=65",
            [Change("data.synthetic.train_images", 64, 65, DATA_MATTERS)],
        ),
        ("train.ema_decay=0.99", [Change("train.ema_decay", None, 0.99, STEP_MATTERS)]),
        (
            "train.seed=1",
            [Change("train.seed", 0, 1, "the order of the records belongs to the run's seed")],
        ),
        (
            "recipe=ssd_mobilenet_v2_fpnlite_640",
            [
                Change(
                    "recipe",
                    "ssd_mobilenet_v2_fpnlite_320",
                    "ssd_mobilenet_v2_fpnlite_640",
                    "the checkpoints are of the run's model",
                )
            ],
        ),
    ],
)
def test_one_field(tmp_path: Path, override: str, expected: list[Change]) -> None:
    assert changes(planned(tmp_path), planned(tmp_path, override)) == expected


def test_a_value_that_is_what_planning_had_worked_out_is_no_change(tmp_path: Path) -> None:
    before = planned(tmp_path, batch={"per_replica_batch": 16})
    assert changes(before, planned(tmp_path)) == []  # 128 is the recipe's own batch
    norm = before.config["norm"]
    assert changes(before, planned(tmp_path, f"train.norm={norm}")) == []


def test_a_division_that_needs_another_norm_is_not_safe(tmp_path: Path) -> None:
    before, after = planned(tmp_path), planned(tmp_path, "batch.per_replica_batch=2")
    renorm = Planned(after.spec, {**after.config, "norm": "renorm"}, after.pipeline)
    assert changes(before, renorm) == [
        Change("batch.per_replica_batch", 16, 2),
        Change("train.norm", before.config["norm"], "renorm", STEP_MATTERS),
    ]


def test_synchronised_statistics_follow_from_the_division(tmp_path: Path) -> None:
    before, after = planned(tmp_path), planned(tmp_path, "batch.per_replica_batch=1")
    assert "sync_batch_norm" in str(after.pipeline)
    assert "sync_batch_norm" not in str(before.pipeline)
    assert [c.field for c in changes(before, after) if c.unsafe] in ([], ["train.norm"])


def test_moments_of_another_number_of_images_are_told(tmp_path: Path) -> None:
    """Once, and not where a replica's images are taken together with the others'."""
    before = planned(tmp_path)
    (change,) = changes(before, planned(tmp_path, "batch.per_replica_batch=32"))
    note = "moments of normalization are of 32 images by it, the run's are of 16"
    assert change == Change("batch.per_replica_batch", 16, 32, note=note)
    assert str(change) == f"is 32, the run has 16 ({note})"
    one = planned(tmp_path, "cluster.workers=1", "batch.per_replica_batch=64")
    assert [bool(c.note) for c in changes(before, one)] == [True, False]
    assert [c.note for c in changes(before, planned(tmp_path, "batch.per_replica_batch=8"))] == [""]
    frozen = {"norm": "frozen"}
    without = [
        planned(tmp_path, f"batch.per_replica_batch={images}", train=frozen) for images in (16, 32)
    ]
    assert [c.note for c in changes(*without)] == [""]
    for of in (before, one):
        of.pipeline.model.ssd.freeze_batchnorm = True
    assert [c.note for c in changes(before, one)] == ["", ""]


def test_a_pipeline_config_is_judged_by_its_contents(tmp_path: Path) -> None:
    demo = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
    copies = [tmp_path / "a.config", tmp_path / "b.config"]
    for copy in copies:
        copy.write_text(demo.read_text())

    def of(path: Path) -> Planned:
        return planned(
            tmp_path,
            recipe=None,
            pipeline_config=str(path),
            batch={"global_batch": 32, "per_replica_batch": 16},
        )

    before = of(copies[0])
    assert changes(before, of(copies[1])) == []
    copies[1].write_text(demo.read_text().replace("weight: 4e-05", "weight: 5e-05", 1))
    (change,) = changes(before, of(copies[1]))  # what differs in it is not told: another file
    assert (change.field, change.unsafe) == ("pipeline_config", MODEL_MATTERS)
    copies[0].write_text(copies[1].read_text())
    (change,) = changes(before, of(copies[0]))
    assert change.field == (
        "pipeline.config: model.ssd.feature_extractor.conv_hyperparams.regularizer"
        ".l2_regularizer.weight"
    )
    assert (change.old, change.new) == (pytest.approx(4e-5), pytest.approx(5e-5))
    assert change.unsafe == MODEL_MATTERS
    assert str(change) == "is 5e-05, the run has 4e-05"


def test_a_run_whose_folder_was_moved_is_the_same_run(tmp_path: Path) -> None:
    data = {"train": "/d/train-*", "val": "/d/val-*", "label_map": "/d/map.pbtxt"}
    before = planned(tmp_path, data=data)
    moved = planned(tmp_path, f"run_dir={tmp_path / 'elsewhere'}", "name=other", data=data)
    assert changes(before, moved) == []


def test_all_safe_names_are_fields_of_a_spec() -> None:
    for name in SAFE:
        model: Any = JobSpec
        for part in name.split("."):
            assert part in model.model_fields, name
            model = model.model_fields[part].annotation
