"""Plans of recipes and of people's own files: the numbers, the effective file, the processes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import recipes
from launcher.contract import RunPaths
from launcher.errors import DataError, LauncherError, SpecError
from launcher.odapi import label_map, pipeline
from launcher.planning import Plan, make_plan, table
from launcher.spec import JobSpec, from_mapping, load
from launcher.worker_config import WorkerConfig

D3 = {"name": "d3", "recipe": "efficientdet_d3"}


def spec_of(*overrides: str, **values: Any) -> JobSpec:
    return from_mapping({**D3, **values}, overrides=overrides)


def plan_of(*overrides: str, **values: Any) -> Plan:
    return make_plan(spec_of(*overrides, **values))


def effective(plan: Plan) -> Any:
    return pipeline.parse(plan.pipeline_text, place="effective")


def seed_plan(shared: Path, *overrides: str) -> Plan:
    return make_plan(load(shared / "seed" / "pipeline.config", overrides))


def own_config(folder: Path, *, steps: int = 1000) -> Path:
    """A small SSD that no published recipe has, with a schedule of its own."""
    model = pipeline.to_text(recipes.get("ssd_mobilenet_v2_320").build())
    built = pipeline.parse(model, place="model")
    built.model.ssd.feature_extractor.depth_multiplier = 0.35
    config = built.train_config
    config.batch_size, config.num_steps = 32, steps
    cosine = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    cosine.learning_rate_base, cosine.warmup_learning_rate = 0.05, 0.01
    cosine.total_steps, cosine.warmup_steps = 1000, 80
    config.ClearField("fine_tune_checkpoint")
    path = folder / "own.config"
    pipeline.write(path, built)
    return path


def test_d3_on_8_workers_of_4_gpus() -> None:
    plan = plan_of(cluster={"workers": 8, "gpus_per_worker": 4}, batch={"per_replica_batch": 4})
    assert (plan.replicas, plan.global_batch, plan.accumulation_steps) == (32, 128, 1)
    assert (plan.learning_rate, plan.total_steps) == (0.08, 300_000)
    assert plan.roles[0].count == 8


def test_the_seed_on_one_gpu_with_2_images(shared: Path) -> None:
    plan = seed_plan(shared, "cluster.gpus_per_worker=1", "batch.per_replica_batch=2")
    assert plan.recipe == "efficientdet_d3"
    assert (plan.replicas, plan.global_batch, plan.per_replica_batch) == (1, 128, 2)
    assert plan.accumulation_steps == 64
    assert (plan.learning_rate, plan.warmup_learning_rate) == (0.08, 0.001)
    assert (plan.warmup_steps, plan.total_steps) == (2_500, 300_000)
    assert (plan.images_seen, plan.epochs) == (38_400_000, 324.6)
    assert plan.target_map == 45.4


def test_the_seeds_own_batch_is_what_a_gpu_holds(shared: Path) -> None:
    plan = seed_plan(shared)
    assert plan.name == "seed"
    assert (plan.per_replica_batch, plan.accumulation_steps) == (2, 64)


def test_the_seed_is_told_what_was_wrong_with_it(shared: Path) -> None:
    plan = seed_plan(shared)
    warnings = "\n".join(plan.warnings)
    assert "rate 0.01 at batch 2 is 8x the linear rule's 0.00125" in warnings
    assert "600,000 steps x 2 images = 1.2 M of efficientdet_d3's 38.4 M images" in warnings
    assert plan.norm.kind == "moving"
    asked = seed_plan(shared, "train.norm=batch").warnings
    assert "batch normalization over 2 images, 4 in the recipe" in "\n".join(asked)


def test_the_seeds_numbers_stay_with_lr_scaling_none(shared: Path) -> None:
    plan = seed_plan(shared, "batch.lr_scaling=none")
    assert (plan.global_batch, plan.accumulation_steps) == (2, 1)
    assert (plan.learning_rate, plan.warmup_steps, plan.total_steps) == (0.01, 2_500, 600_000)
    assert plan.target_map == 45.4  # it is still that model on that data
    larger = seed_plan(shared, "batch.lr_scaling=none", "batch.global_batch=4")
    assert (larger.learning_rate, larger.total_steps) == (0.01, 300_000)


def test_half_the_global_batch() -> None:
    plan = plan_of("batch.global_batch=64")
    assert (plan.learning_rate, plan.warmup_learning_rate) == (0.04, 0.0005)
    assert (plan.warmup_steps, plan.total_steps) == (5_000, 600_000)
    assert (plan.accumulation_steps, plan.images_seen) == (16, 38_400_000)


def test_lr_scaling_none_keeps_a_recipes_rate_and_its_images() -> None:
    plan = plan_of("batch.global_batch=64", "batch.lr_scaling=none")
    assert (plan.learning_rate, plan.warmup_learning_rate) == (0.08, 0.001)
    assert (plan.total_steps, plan.warmup_steps) == (600_000, 5_000)


def test_centernet_has_every_boundary_scaled_and_says_that_it_is_adam() -> None:
    plan = plan_of("batch.global_batch=32", recipe="centernet_hourglass104_512")
    schedule = effective(plan).train_config.optimizer.adam_optimizer.learning_rate
    steps = [change.step for change in schedule.manual_step_learning_rate.schedule]
    assert steps == [360_000, 480_000]
    assert (plan.total_steps, plan.learning_rate) == (560_000, 0.00025)
    assert any("Adam" in warning for warning in plan.warnings)
    at_reference = plan_of(recipe="centernet_hourglass104_512")
    assert not any("Adam" in warning for warning in at_reference.warnings)


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_at_its_own_batch_is_itself(name: str) -> None:
    plan = plan_of(recipe=name)
    published = recipes.get(name).build().train_config
    assert plan.global_batch == published.batch_size
    assert plan.total_steps == published.num_steps
    got = effective(plan).train_config
    assert got.optimizer == published.optimizer
    assert plan.per_replica_batch == recipes.get(name).images_per_core
    # Of TPUs: the OD API's input would round the images.
    assert effective(plan).train_config.use_bfloat16 is False
    assert plan.target_map == recipes.get(name).published_map


@given(
    st.sampled_from(recipes.names()),
    st.integers(1, 12),
    st.integers(0, 9),
    st.one_of(st.none(), st.integers(1, 40)),
    st.one_of(st.none(), st.integers(1, 2048)),
)
@settings(deadline=None, max_examples=150)
def test_a_plan_multiplies_to_its_global_batch_or_is_refused(
    name: str, workers: int, gpus: int, per_replica: int | None, global_batch: int | None
) -> None:
    spec = spec_of(
        recipe=name,
        cluster={"workers": workers, "gpus_per_worker": gpus},
        batch={"per_replica_batch": per_replica, "global_batch": global_batch},
    )
    reference = recipes.get(name).build().train_config
    try:
        plan = make_plan(spec)
    except SpecError as e:
        refusal = str(e)
    else:
        refusal = ""
    if refusal:
        assert "Nearest valid: " in refusal
        return
    product = plan.replicas * plan.per_replica_batch * plan.accumulation_steps
    assert product == plan.global_batch == (global_batch or reference.batch_size)
    images = reference.batch_size * reference.num_steps
    assert 0 <= plan.images_seen - images < plan.global_batch
    got = effective(plan).train_config
    assert (got.batch_size, got.num_steps) == (plan.global_batch, plan.total_steps)


def test_a_default_that_does_not_divide_gives_way() -> None:
    plan = plan_of("batch.global_batch=126")  # 4 images a core would be 31.5 steps
    assert (plan.per_replica_batch, plan.accumulation_steps) == (3, 42)


def test_an_own_model_is_its_own_recipe(tmp_path: Path) -> None:
    plan = make_plan(load(own_config(tmp_path), ["cluster.workers=2"]))
    assert plan.recipe is None
    assert (plan.global_batch, plan.per_replica_batch, plan.accumulation_steps) == (32, 16, 1)
    assert (plan.learning_rate, plan.total_steps, plan.warmup_steps) == (0.05, 1000, 80)
    assert plan.data.dataset == "custom"
    assert plan.target_map is None
    assert plan.epochs is None
    assert plan.warnings == ()
    scaled = make_plan(load(own_config(tmp_path), ["batch.global_batch=16"]))
    assert (scaled.learning_rate, scaled.total_steps) == (0.025, 2000)


def test_an_own_batch_that_the_replicas_cannot_share_asks_for_theirs(tmp_path: Path) -> None:
    path = own_config(tmp_path)
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, ["cluster.workers=3"]))
    assert str(caught.value) == (
        f"{path}: batch.per_replica_batch: is not set, and batch_size 32 of {path} is no multiple "
        "of 3 replicas. Set batch.per_replica_batch to the images that one accelerator's memory "
        "holds"
    )


def test_a_file_whose_num_steps_and_schedule_disagree_is_told(tmp_path: Path) -> None:
    plan = make_plan(load(own_config(tmp_path, steps=1500)))
    assert plan.total_steps == 1500
    assert "num_steps is 1,500 but its schedule ends at 1,000" in plan.warnings[0]
    cosine = effective(plan).train_config.optimizer.momentum_optimizer.learning_rate
    assert cosine.cosine_decay_learning_rate.total_steps == 1500


def test_the_recipes_optimizer_replaces_another_one(tmp_path: Path) -> None:
    built = recipes.get("efficientdet_d0").build()
    adam = built.train_config.optimizer.adam_optimizer.learning_rate
    adam.constant_learning_rate.learning_rate = 0.001
    path = tmp_path / "adam.config"
    pipeline.write(path, built)
    plan = make_plan(load(path))
    assert effective(plan).train_config.optimizer.WhichOneof("optimizer") == "momentum_optimizer"
    assert any("optimizer is adam, efficientdet_d0's is momentum" in w for w in plan.warnings)
    kept = make_plan(load(path, ["batch.lr_scaling=none"]))
    assert effective(kept).train_config.optimizer.WhichOneof("optimizer") == "adam_optimizer"


def test_a_matched_file_may_lack_a_schedule_of_its_own(tmp_path: Path) -> None:
    built = recipes.get("efficientdet_d0").build()
    built.train_config.ClearField("optimizer")
    path = tmp_path / "bare.config"
    pipeline.write(path, built)
    plan = make_plan(load(path))
    assert (plan.learning_rate, plan.file_facts) == (0.08, None)
    with pytest.raises(SpecError, match=r"bare.config: train_config: .*optimizer is not set"):
        make_plan(load(path, ["batch.lr_scaling=none"]))


def test_a_model_of_other_classes_is_other_data(tmp_path: Path) -> None:
    built = recipes.get("efficientdet_d0").build()
    built.model.ssd.num_classes = 3
    path = tmp_path / "three.config"
    pipeline.write(path, built)
    plan = make_plan(load(path))
    assert (plan.recipe, plan.data.dataset, plan.target_map) == ("efficientdet_d0", "custom", None)
    assert effective(plan).model.ssd.num_classes == 3


def test_the_effective_file_names_the_data(tmp_path: Path) -> None:
    spec = from_mapping(
        {**D3, "data": {"train": ["t/a-*", "t/b"], "val": "v/*", "label_map": "l.pbtxt"}},
        folder=tmp_path,
    )
    got = effective(make_plan(spec))
    train, (val,) = got.train_input_reader, got.eval_input_reader
    assert list(train.tf_record_input_reader.input_path) == [
        str(tmp_path / "t/a-*"),
        str(tmp_path / "t/b"),
    ]
    assert list(val.tf_record_input_reader.input_path) == [str(tmp_path / "v/*")]
    assert train.label_map_path == val.label_map_path == str(tmp_path / "l.pbtxt")
    assert (val.shuffle, val.num_epochs) == (False, 1)
    assert list(got.eval_config.metrics_set) == ["coco_detection_metrics"]


def test_placeholders_can_be_planned() -> None:
    got = effective(plan_of())
    assert "PATH_TO_BE_CONFIGURED" in got.train_input_reader.label_map_path


def test_a_placeholder_checkpoint_is_removed_with_a_warning() -> None:
    plan = plan_of()
    assert not effective(plan).train_config.fine_tune_checkpoint
    assert any("published mAP from a classification checkpoint" in w for w in plan.warnings)


def test_the_specs_checkpoint_is_used() -> None:
    train = {"fine_tune_checkpoint": "/c/ckpt-0", "fine_tune_type": "full"}
    plan = plan_of(train=train)
    config = effective(plan).train_config
    assert (config.fine_tune_checkpoint, config.fine_tune_checkpoint_type) == ("/c/ckpt-0", "full")
    assert config.fine_tune_checkpoint_version == 2
    assert not any("random weights" in w for w in plan.warnings)


def test_a_files_own_checkpoint_is_kept(shared: Path) -> None:
    config = effective(seed_plan(shared)).train_config
    assert config.fine_tune_checkpoint.endswith("efficientnet_b3/ckpt-0")
    assert config.fine_tune_checkpoint_type == "classification"


def test_drawn_data_is_named_counted_and_custom(tmp_path: Path) -> None:
    plan = plan_of(
        data={"synthetic": {"train_images": 100, "val_images": 10}}, run_dir=str(tmp_path)
    )
    folder = tmp_path / "data" / "shapes-100-10-128-0"
    assert plan.data.train == (str(folder / "train.record-?????-of-00004"),)
    assert plan.data.val == (str(folder / "val.record-?????-of-00001"),)
    assert (plan.data.dataset, plan.target_map) == ("custom", None)
    assert effective(plan).model.ssd.num_classes == 3  # before anything is drawn
    assert not folder.exists()
    assert (plan.worker_config.train_images, plan.worker_config.val_images) == (100, 10)


def test_classes_of_custom_data_come_from_its_label_map(tmp_path: Path) -> None:
    labels = tmp_path / "labels.pbtxt"
    data = {"dataset": "custom", "label_map": str(labels)}
    assert effective(plan_of(data=data)).model.ssd.num_classes == 90  # not there yet
    label_map.write(labels, {1: "square", 7: "circle"})
    assert effective(plan_of(data=data)).model.ssd.num_classes == 7
    assert effective(plan_of(data={**data, "num_classes": 9})).model.ssd.num_classes == 9
    coco = {"dataset": "coco2017", "label_map": str(labels)}
    assert effective(plan_of(data=coco)).model.ssd.num_classes == 90
    labels.write_text("item { id: 0 }")
    with pytest.raises(DataError, match=r"labels\.pbtxt"):
        plan_of(data=data)


def test_coco_counts_and_target_belong_to_coco() -> None:
    plan = plan_of()
    assert (plan.worker_config.train_images, plan.worker_config.val_images) == (118_287, 5_000)
    custom = plan_of(data={"dataset": "custom", "train_images": 640})
    assert (custom.worker_config.train_images, custom.worker_config.val_images) == (640, None)
    assert custom.target_map is None
    assert custom.epochs == 60_000
    assert plan_of("evaluate.target_map=40.5").target_map == 40.5


SYNC = {
    "one replica": ({}, {"per_replica_batch": 2}, False),
    "few images": ({"workers": 2}, {"per_replica_batch": 2}, True),
    "enough images": ({"workers": 2}, {"per_replica_batch": 4}, False),
}


@pytest.mark.parametrize("name", SYNC)
def test_batch_norm_is_synchronised_when_replicas_hold_too_few(name: str) -> None:
    cluster, batch, on = SYNC[name]
    model = effective(plan_of(cluster=cluster, batch=batch)).model
    hyperparams = model.ssd.feature_extractor.conv_hyperparams
    assert hyperparams.HasField("sync_batch_norm") is on
    assert hyperparams.HasField("batch_norm") is not on
    kept = hyperparams.sync_batch_norm if on else hyperparams.batch_norm
    assert kept.decay == pytest.approx(0.99)
    assert kept.scale
    assert kept.epsilon == pytest.approx(0.001)
    head = model.ssd.box_predictor.weight_shared_convolutional_box_predictor
    assert head.conv_hyperparams.HasField("sync_batch_norm") is on


def test_synchronisation_can_be_asked_for_and_refused() -> None:
    two = {"cluster": {"workers": 2}, "batch": {"per_replica_batch": 2}}
    off = effective(plan_of("train.sync_batch_norm=false", **two)).model
    assert off.ssd.feature_extractor.conv_hyperparams.HasField("batch_norm")
    on = effective(plan_of("train.sync_batch_norm=true")).model
    assert on.ssd.feature_extractor.conv_hyperparams.HasField("sync_batch_norm")


@pytest.mark.parametrize("asked", ["auto", "true", "false"])
def test_an_hourglass_is_synchronised_whatever_is_asked(asked: str) -> None:
    """Its layers are built so."""
    two = {"cluster": {"workers": 2}, "recipe": "centernet_hourglass104_512"}
    plan = plan_of(f"train.sync_batch_norm={asked}", **two)
    assert plan.norm.synchronised
    assert plan.norm.images == 2 * plan.per_replica_batch


def test_mixed_precision_is_planned_with_what_is_known_of_it() -> None:
    plan = plan_of("train.precision=mixed_bfloat16")
    assert plan.worker_config.precision == "mixed_bfloat16"
    (told,) = (w for w in plan.warnings if w.startswith("mixed_bfloat16"))
    assert "a small detector on a CPU only" in told
    assert not any("bfloat16" in warning for warning in plan_of().warnings)


@pytest.mark.parametrize("recipe", ["faster_rcnn_resnet50_v1_640", "centernet_hourglass104_512"])
def test_mixed_precision_is_refused_where_it_was_not_tried(recipe: str) -> None:
    with pytest.raises(SpecError, match=r"train\.precision: mixed_bfloat16 was tried with SSD and"):
        plan_of("train.precision=mixed_bfloat16", recipe=recipe)


def norm_warning(plan: Plan) -> str:
    return "".join(w for w in plan.warnings if w.startswith("batch norm"))


D3_FULL = {"fine_tune_checkpoint": "/w/ckpt-0", "fine_tune_type": "full"}
D3_BACKBONE = {"fine_tune_checkpoint": "/w/ckpt-0", "fine_tune_type": "classification"}
AUTO = {
    "as many as the recipe": ({"batch": {"per_replica_batch": 4}}, "batch", 4, False),
    "two on one": ({"batch": {"per_replica_batch": 2}}, "moving", 2, False),
    "two on two": (
        {"batch": {"per_replica_batch": 2}, "cluster": {"workers": 2}},
        "batch",
        4,
        True,
    ),
    "one on two": (
        {"batch": {"per_replica_batch": 1}, "cluster": {"workers": 2}},
        "moving",
        2,
        True,
    ),
    "a trained start": ({"batch": {"per_replica_batch": 2}, "train": D3_FULL}, "frozen", 2, False),
    "a backbone": ({"batch": {"per_replica_batch": 2}, "train": D3_BACKBONE}, "moving", 2, False),
    "groups of a large batch": (
        {"batch": {"per_replica_batch": 16}, "train": {"statistics_images": 4}},
        "batch",
        4,
        False,
    ),
    "small groups of a large batch": (
        {"batch": {"per_replica_batch": 16}, "train": {"statistics_images": 2}},
        "moving",
        2,
        False,
    ),
    "one micro-batch a step": (
        {"recipe": "efficientdet_d0", "batch": {"per_replica_batch": 4, "global_batch": 4}},
        "renorm",
        4,
        False,
    ),
    "micro-batches of a step that are enough together": (
        {"recipe": "efficientdet_d0", "batch": {"per_replica_batch": 4, "global_batch": 16}},
        "moving",
        4,
        False,
    ),
    "frozen by the model's own file": (
        {"recipe": "faster_rcnn_resnet50_v1_800x1333", "batch": {"per_replica_batch": 1}},
        "batch",
        1,
        False,
    ),
}


@pytest.mark.parametrize("name", AUTO)
def test_auto_chooses_by_images_weights_and_model(name: str) -> None:
    spec, kind, images, synchronised = AUTO[name]
    plan = plan_of(**spec)
    assert (plan.norm.kind, plan.norm.images) == (kind, images)
    assert plan.norm.synchronised is synchronised
    assert plan.worker_config.norm == kind
    assert plan.worker_config.sync_batch_norm is synchronised
    assert not norm_warning(plan)
    costs = [w for w in plan.warnings if w.startswith("normalization is")]
    assert len(costs) == (1 if kind in ("moving", "renorm") else 0)


def test_moving_over_one_micro_batch_costs_what_batch_norm_costs() -> None:
    own = {"recipe": "efficientdet_d0", "batch": {"per_replica_batch": 4, "global_batch": 4}}
    assert "norm: batch over 4 images" in plan_of("train.norm=moving", **own).norm.cost
    own["batch"]["global_batch"] = 16
    assert "norm: moving over 4 images" in plan_of("train.norm=moving", **own).norm.cost


def test_batch_norm_over_too_few_images_is_warned_about() -> None:
    two = {"cluster": {"workers": 2}, "batch": {"per_replica_batch": 2}}
    off = plan_of("train.sync_batch_norm=false", "train.norm=batch", **two)
    assert "sync_batch_norm: true would take them over all replicas" in norm_warning(off)
    ssd = {"recipe": "ssd_resnet50_v1_fpn_640", "batch": {"per_replica_batch": 4}}
    alone = norm_warning(plan_of("train.norm=batch", **ssd))
    assert "over 4 images, 8 in the recipe" in alone
    assert "train.norm: auto" in alone
    assert not norm_warning(plan_of(cluster={"workers": 2}, **ssd))  # 2 x 4 together


def test_every_model_can_be_synchronised() -> None:
    """CenterNet's layers have no field for it in the pipeline.config."""
    two = {"cluster": {"workers": 2}, "recipe": "centernet_resnet101_v1_fpn_512"}
    assert plan_of("train.sync_batch_norm=true", **two).worker_config.sync_batch_norm
    assert not plan_of("train.sync_batch_norm=false", **two).worker_config.sync_batch_norm


@pytest.mark.parametrize("asked", [True, "auto"])
def test_frozen_statistics_say_that_there_is_nothing_to_share(asked: bool | str) -> None:
    plan = plan_of(
        f"train.sync_batch_norm={str(asked).lower()}",
        batch={"per_replica_batch": 1},
        cluster={"workers": 2},
        train=D3_FULL,
    )
    assert (plan.norm.kind, plan.norm.synchronised) == ("frozen", False)
    assert ("sync_batch_norm has nothing to share" in plan.norm.why) is (asked is True)


def test_images_of_a_statistic_must_divide_those_of_a_replica() -> None:
    with pytest.raises(SpecError, match="3 does not divide the 4 images of a replica"):
        plan_of("train.statistics_images=3", batch={"per_replica_batch": 4})


def test_the_processes_are_workers_and_one_evaluator(tmp_path: Path) -> None:
    plan = plan_of(
        cluster={"workers": 4, "gpus_per_worker": 2, "env": {"NCCL_DEBUG": "INFO"}},
        run_dir=str(tmp_path),
    )
    root = str(tmp_path / "d3")
    worker, evaluator = plan.roles
    assert (worker.name, worker.count, worker.gpus) == ("worker", 4, 2)
    assert worker.argv == ("-m", "launcher.runtime", root)
    assert (evaluator.name, evaluator.count, evaluator.gpus) == ("evaluator", 1, 1)
    assert evaluator.argv == ("-m", "launcher.evaluate", root)
    assert worker.env == evaluator.env == {"NCCL_DEBUG": "INFO"}
    assert plan_of().roles[1].gpus == 0


def test_a_written_plan_is_what_the_workers_read(tmp_path: Path) -> None:
    plan = plan_of("train.seed=3", "evaluate.every=last", run_dir=str(tmp_path))
    plan.write(tmp_path / "out")
    paths = RunPaths(tmp_path / "out")
    read = WorkerConfig.read(paths.plan)
    assert read == plan.worker_config
    assert (read.seed, read.evaluate_every, read.global_batch) == (3, "last", 128)
    assert pipeline.read(paths.pipeline) == effective(plan)
    assert load(paths.spec) == plan.spec
    assert json.loads(paths.plan.read_text()) == plan.to_json()


def test_the_json_begins_with_the_numbers() -> None:
    data = plan_of().to_json()
    numbers = {
        "replicas", "global_batch", "per_replica_batch", "accumulation_steps", "learning_rate",
        "warmup_learning_rate", "warmup_steps", "total_steps", "images_seen", "epochs",
    }  # fmt: skip
    assert all(isinstance(data[name], int | float) for name in numbers)
    assert data["worker_config"] == plan_of().worker_config.to_json()
    flat = [isinstance(value, dict | list) for value in data.values()]
    assert flat == sorted(flat)  # all plain values first


def test_a_bad_pipeline_config_of_a_spec_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "bad.config").write_text("model { ssd { num_clases: 3 } }")
    (tmp_path / "s.yaml").write_text("name: x\npipeline_config: bad.config\n")
    with pytest.raises(SpecError) as caught:
        make_plan(load(tmp_path / "s.yaml"))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/s.yaml:2: pipeline_config: {tmp_path}/bad.config:1:")
    assert 'Did you mean "num_classes"?' in message


def test_a_missing_pipeline_config_of_a_spec_is_told(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("name: x\npipeline_config: no.config\n")
    with pytest.raises(
        LauncherError, match=r"s.yaml:2: pipeline_config: .*no.config: no such file"
    ):
        make_plan(load(tmp_path / "s.yaml"))


def test_a_file_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.config").write_text("train_config { batch_size: 2 }")
    with pytest.raises(SpecError, match="has no model section"):
        make_plan(load(tmp_path / "empty.config"))


def test_every_val_image_is_read_once_whatever_the_file_says(tmp_path: Path) -> None:
    path = own_config(tmp_path)
    built = pipeline.read(path)
    reader = built.eval_input_reader[0]
    reader.shuffle, reader.num_epochs = True, 3
    reader.tf_record_input_reader.input_path[:] = ["/d/one"]
    built.eval_input_reader.add().CopyFrom(reader)
    built.eval_config.metrics_set[:] = ["pascal_voc_detection_metrics"]
    pipeline.write(path, built)
    got = effective(make_plan(load(path)))
    (val,) = got.eval_input_reader  # one val set is scored: the first
    assert (val.shuffle, val.num_epochs) == (False, 1)
    assert list(got.eval_config.metrics_set) == ["coco_detection_metrics"]
    built.ClearField("eval_input_reader")
    pipeline.write(path, built)
    (val,) = effective(make_plan(load(path, ["data.val=/d/two"]))).eval_input_reader
    assert list(val.tf_record_input_reader.input_path) == ["/d/two"]


def test_relative_paths_of_a_pipeline_config_are_the_current_directorys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the OD API reads them, who starts where the user stands."""
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    path = own_config(tmp_path / "configs")
    built = pipeline.read(path)
    built.train_input_reader.tf_record_input_reader.input_path[:] = ["data/train-*"]
    built.train_input_reader.label_map_path = "data/labels.pbtxt"
    pipeline.write(path, built)
    data = make_plan(load(path)).data
    assert data.train == (str(tmp_path / "data/train-*"),)
    assert data.label_map == str(tmp_path / "data/labels.pbtxt")


def test_what_the_loss_is_divided_by(tmp_path: Path) -> None:
    plan = plan_of(cluster={"workers": 4}, batch={"per_replica_batch": 8})
    assert (plan.normalizer, plan.worker_config.loss_normalizer) == ("matches", "global")
    plan = plan_of("train.loss_normalizer=micro_batch", batch={"per_replica_batch": 8})
    assert (plan.normalizer, plan.worker_config.loss_normalizer) == ("micro_batch", "micro_batch")
    assert not [w for w in plan.warnings if "divided" in w]
    boxes = plan_of(recipe="centernet_hourglass104_512", batch={"per_replica_batch": 8})
    assert boxes.normalizer == "boxes"
    faster = plan_of(recipe="faster_rcnn_resnet50_v1_640", batch={"per_replica_batch": 8})
    assert (faster.normalizer, faster.worker_config.loss_normalizer) == ("images", "global")


@pytest.mark.parametrize(
    ("recipe", "terms"),
    [
        ("centernet_hourglass104_512_kpts", "keypoints"),
        ("mask_rcnn_inception_resnet_v2_1024", "masks"),
    ],
)
def test_a_loss_with_several_divisors_says_so(recipe: str, terms: str) -> None:
    plan = plan_of(recipe=recipe, batch={"per_replica_batch": 1})
    assert (plan.normalizer, plan.worker_config.loss_normalizer) == ("micro_batch", "micro_batch")
    (warning,) = [w for w in plan.warnings if "is divided within each" in w]
    assert "micro-batches of 1 images, as the OD API does" in warning
    assert f"in this model {terms} have a divisor of their own" in warning


def test_an_average_of_the_weights_is_printed() -> None:
    rows = {row.quantity: row.run for row in table(plan_of("train.ema_decay=0.9998"))}
    assert rows["weight average"] == "0.9998"
    assert rows["loss divided by"] == "matched anchors"
    assert plan_of("train.ema_decay=0.9998").worker_config.ema_decay == 0.9998
    assert "weight average" not in {row.quantity for row in table(plan_of())}


def test_a_file_s_own_average_is_kept_when_its_evaluation_uses_it(tmp_path: Path) -> None:
    path = own_config(tmp_path)
    own = pipeline.read(path)
    own.train_config.optimizer.ClearField("use_moving_average")  # its default is true
    decays = {}
    for used in (False, True):
        own.eval_config.use_moving_averages = used
        pipeline.write(path, own)
        plan = make_plan(load(path))
        decays[used] = plan.worker_config.ema_decay
        assert not effective(plan).train_config.optimizer.use_moving_average
        assert not effective(plan).eval_config.use_moving_averages
    assert decays == {False: None, True: 0.9999}
    assert make_plan(load(path, ["train.ema_decay=0.5"])).worker_config.ema_decay == 0.5
