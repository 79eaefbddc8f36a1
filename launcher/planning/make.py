"""From a spec to its plan. Pure but for reading the files that the spec names."""

from launcher.contract import EVALUATOR_MODULE, WORKER_MODULE
from launcher.odapi import pipeline as pipelines
from launcher.odapi.normalizers import Normalizer, normalizer_of, several_divisors
from launcher.planning.arithmetic import Split
from launcher.planning.data import DataPlan, data_of, fine_tune_of
from launcher.planning.division import divide
from launcher.planning.effective import average_decay, effective, is_hourglass
from launcher.planning.freeze import frozen_of
from launcher.planning.norm import Norm, norm_of, wants_sync
from launcher.planning.own_file import require_sound
from launcher.planning.own_input import require_trainable_input
from launcher.planning.plan import Plan, Role
from launcher.planning.schedule import Facts, facts_of
from launcher.planning.source import Source, source_of
from launcher.planning.warnings import warnings_of
from launcher.spec import JobSpec
from launcher.worker_config import WorkerConfig


def make_plan(spec: JobSpec, workers: int | None = None) -> Plan:
    """What a run of `spec` is. Data need not be there yet (`missing_data` tells).

    workers: that many of an elastic run's; None: as many as the spec has at most.

    Raises SpecError: the batch cannot be divided, the schedule cannot be scaled that far, or the
    pipeline.config cannot be read; DataError: the label map cannot be.
    """
    source = source_of(spec)
    require_sound(source)
    if spec.train.recompute and is_hourglass(source.pipeline.model):
        what = "CenterNet's hourglass has no backbone that can be recomputed"
        raise spec.error("train.recompute", what, "Remove the key")
    if spec.train.precision != "float32" and source.pipeline.model.WhichOneof("model") != "ssd":
        what = f"{spec.train.precision} was tried with SSD and EfficientDet only"
        raise spec.error("train.precision", what, "Use float32")
    split = divide(spec, source, workers)
    require_trainable_input(source, split)
    data = data_of(spec, source)
    fine_tune = fine_tune_of(spec, source)
    sync = wants_sync(spec, source, split)
    pipeline = effective(
        source,
        split,
        data,
        fine_tune,
        lr_scaling=spec.batch.lr_scaling,
        sync_batch_norm=sync,
        freeze=spec.train.freeze,
    )
    # Read back from what the workers get, so that the plan cannot say anything else.
    frozen = frozen_of(pipeline.train_config, _place_of_own(source))
    facts = facts_of(pipeline.train_config, source.reference_place)
    norm = norm_of(pipeline.model, spec, source, split, fine_tune, sync)
    normalizer = normalizer_of(pipeline.model, spec.train.loss_normalizer)
    decay = average_decay(spec.train.ema_decay, source)
    return Plan(
        name=spec.name,
        root=spec.root,
        recipe=source.recipe.name if source.recipe else None,
        replicas=split.replicas,
        workers=_workers(spec, split),
        gpus_per_worker=spec.cluster.gpus_per_worker,
        global_batch=split.global_batch,
        per_replica_batch=split.per_replica_batch,
        accumulation_steps=split.accumulation_steps,
        learning_rate=facts.learning_rate,
        warmup_learning_rate=facts.warmup_learning_rate,
        warmup_steps=facts.warmup_steps,
        total_steps=facts.total_steps,
        images_seen=facts.images,
        epochs=_epochs(facts.images, data.train_images),
        target_map=_target(spec, source, data),
        tolerance=spec.evaluate.tolerance,
        max_restarts=spec.restart.max_restarts,
        warnings=warnings_of(
            source,
            split,
            data,
            fine_tune,
            norm,
            own_target=spec.evaluate.target_map is not None,
            several_divisors=several_divisors(pipeline.model),
            loss_normalizer=spec.train.loss_normalizer,
            recompute=spec.train.recompute,
            precision=spec.train.precision,
        ),
        worker_config=_worker_config(spec, source, split, facts, data, normalizer, norm, decay),
        pipeline_text=pipelines.to_text(pipeline),
        spec=spec,
        roles=_roles(spec, _workers(spec, split)),
        reference_batch=source.reference.batch,
        reference_is_recipe=source.follows_recipe,
        schedule=facts.schedule,
        norm=norm,
        normalizer=normalizer,
        data=data,
        fine_tune=fine_tune,
        frozen=frozen,
        recipe_facts=source.recipe_facts,
        file_facts=source.file_facts,
    )


def _workers(spec: JobSpec, split: Split) -> int:
    return split.replicas // max(1, spec.cluster.gpus_per_worker)


def _place_of_own(source: Source) -> str:
    return f"{source.file}: train_config" if source.file else source.reference_place


def _epochs(images_seen: int, train_images: int | None) -> float | None:
    """To four digits, as 324.6; None when the size of the data set is not known."""
    return float(f"{images_seen / train_images:.4g}") if train_images else None


def _target(spec: JobSpec, source: Source, data: DataPlan) -> float | None:
    if spec.evaluate.target_map is not None:
        return spec.evaluate.target_map
    published = source.recipe.published_map if source.recipe else None
    return published if data.is_coco else None


def _worker_config(
    spec: JobSpec,
    source: Source,
    split: Split,
    facts: Facts,
    data: DataPlan,
    normalizer: Normalizer,
    norm: Norm,
    ema_decay: float | None,
) -> WorkerConfig:
    by_micro_batch = normalizer is Normalizer.MICRO_BATCH
    return WorkerConfig(
        name=spec.name,
        workers=_workers(spec, split),
        gpus_per_worker=spec.cluster.gpus_per_worker,
        replicas=split.replicas,
        global_batch=split.global_batch,
        per_replica_batch=split.per_replica_batch,
        accumulation_steps=split.accumulation_steps,
        learning_rate=facts.learning_rate,
        warmup_learning_rate=facts.warmup_learning_rate,
        warmup_steps=facts.warmup_steps,
        total_steps=facts.total_steps,
        seed=spec.train.seed,
        precision=spec.train.precision,
        loss_normalizer="micro_batch" if by_micro_batch else spec.train.loss_normalizer,
        loss_images=source.reference.batch if normalizer is Normalizer.NOTHING else None,
        norm=norm.kind,
        statistics_images=spec.train.statistics_images,
        sync_batch_norm=norm.synchronised,
        ema_decay=ema_decay,
        recompute=spec.train.recompute,
        checkpoint_steps=spec.train.checkpoint_every.steps,
        checkpoint_minutes=spec.train.checkpoint_every.minutes,
        keep_checkpoints=spec.train.keep_checkpoints,
        stall_timeout_seconds=spec.restart.stall_timeout_seconds,
        train_images=data.train_images,
        val_images=data.val_images,
        max_bad_records=spec.data.max_bad_records,
        evaluate_every=spec.evaluate.every,
    )


def _roles(spec: JobSpec, workers: int) -> tuple[Role, ...]:
    cluster, root = spec.cluster, str(spec.root)
    evaluator_gpus = spec.evaluate.gpus
    if evaluator_gpus is None:
        evaluator_gpus = min(1, cluster.gpus_per_worker)
    return (
        Role(
            name="worker",
            count=workers,
            argv=("-m", WORKER_MODULE, root),
            env=dict(cluster.env),
            gpus=cluster.gpus_per_worker,
        ),
        Role(
            name="evaluator",
            count=1,
            argv=("-m", EVALUATOR_MODULE, root),
            env=dict(cluster.env),
            gpus=evaluator_gpus,
        ),
    )
