"""The spec of a short run that is made from another spec: same model, own schedule and data."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import yaml

from launcher import api
from launcher.errors import PreflightError, Problem
from launcher.odapi import pipeline as pipelines
from launcher.odapi.protos import Message
from launcher.planning import Plan
from launcher.planning.arithmetic import exact, scale_of
from launcher.planning.schedule import optimizer_name
from launcher.spec import JobSpec, plain
from launcher.storage import write_text

_LONGEST = 47
"""Of a run's name (spec/fields.py)."""
_WARMUP = 5
"""A fifth of the steps, as in configs/overfit-coco-tiny.config and demo.config."""
_FIRST_RATE = 10
"""The warm-up begins at a tenth of the peak, as there."""
_NOT_OURS = ("fine_tune_checkpoint", "fine_tune_type", "ema_decay", "checkpoint_every")
"""Of the section `train`: the first two are in the effective pipeline.config. An average over
thousands of steps has seen nothing yet after a few hundred."""
_OF_DATA = ("data-shards", "data-count", "records", "labels", "boxes", "images", "data", "memory")
"""Checks whose findings hold for a short run as for the long one. Others judge its batch, rate and
budget, which are not those of a recipe on purpose."""


@dataclass(frozen=True)
class Schedule:
    """`rate` is the peak; images a step are those of all replicas and micro-batches."""

    steps: int
    rate: float
    global_batch: int
    per_replica_batch: int


def run_name(name: str, kind: str) -> str:
    return f"{name[: _LONGEST - len(kind) - 1].rstrip('-')}-{kind}"


def folder_of(spec: JobSpec, kind: str) -> Path:
    """Beside the runs, where drawn data lies too."""
    return spec.run_dir / "data" / run_name(spec.name, kind)


def linear_rate(plan: Plan, global_batch: int) -> float:
    """The plan's peak, carried to another batch by the linear rule (arXiv 1706.02677)."""
    return float(exact(plan.learning_rate) * scale_of(global_batch, plan.global_batch))


def write(
    plan: Plan, kind: str, schedule: Schedule, sections: Mapping[str, Any], *, augment: bool
) -> JobSpec:
    """Writes spec.yaml and pipeline.config into `folder_of` and reads them back.

    `sections` stand in place of the user's; `train` and `evaluate` are laid over what is kept of
    them. Raises StorageError, SpecError.
    """
    folder = folder_of(plan.spec, kind)
    message = pipelines.parse(plan.pipeline_text, plan.name)
    _set_schedule(message.train_config, schedule)
    if not augment:
        del message.train_config.data_augmentation_options[:]
    write_text(folder / "pipeline.config", pipelines.to_text(message))
    values = _values(plan, kind, schedule, folder / "pipeline.config")
    merged = {name: values[name] | sections.get(name, {}) for name in ("train", "evaluate")}
    values.update(sections, **merged)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)
    head = f"# Made by `launcher {kind}` from {plan.spec.origin.file or plan.name}.\n"
    write_text(folder / "spec.yaml", head + text)
    return api.load(folder / "spec.yaml")


def prepare(spec: JobSpec, *, replace: bool, force: bool) -> api.Prepared:
    """As api.prepare, but what is meant in a run that is short on purpose is not found."""
    made = api.prepare(spec, replace=replace, force=True)
    if made.report is None:
        return made
    kept = tuple(f for f in made.report.findings if f.name in _OF_DATA)
    report = changed(made.report, findings=kept)
    if report.errors and not force:
        raise PreflightError(
            [Problem(f.place, f"{f.name}: {f.evidence}", f.remedy) for f in report.errors]
        )
    return api.Prepared(made.plan, report)


def _values(plan: Plan, kind: str, schedule: Schedule, pipeline: Path) -> dict[str, Any]:
    """One worker of this machine, with as many GPUs as a worker of the user's has."""
    given = plain(plan.spec)
    train = {k: v for k, v in given.get("train", {}).items() if k not in _NOT_OURS}
    if schedule.per_replica_batch % train.get("statistics_images", 1):
        del train["statistics_images"]
    return {
        "apiVersion": plan.spec.apiVersion,
        "name": run_name(plan.name, kind),
        "pipeline_config": str(pipeline),
        "data": _drawn(plan) if plan.spec.data.synthetic else given.get("data", {}),
        "batch": {
            "global_batch": schedule.global_batch,
            "per_replica_batch": schedule.per_replica_batch,
            "lr_scaling": "none",
        },
        "train": train,
        "cluster": {
            "workers": 1,
            "gpus_per_worker": plan.gpus_per_worker,
            **{k: v for k, v in given.get("cluster", {}).items() if k == "env"},
        },
        "evaluate": {k: v for k, v in given.get("evaluate", {}).items() if k == "gpus"},
        "restart": given.get("restart", {}),
        "backend": {"kind": "local"},
        "run_dir": str(plan.spec.run_dir),
    }


def _drawn(plan: Plan) -> dict[str, Any]:
    """Drawn data by name: they lie below the user's run_dir, wherever the spec's own is."""
    data = plan.data
    return {
        "dataset": data.dataset,
        "train": list(data.train),
        "val": list(data.val),
        "label_map": data.label_map,
        "train_images": data.train_images,
        "val_images": data.val_images,
        "num_classes": data.num_classes,
    }


def _set_schedule(config: Message, schedule: Schedule) -> None:
    """A cosine with a warm-up, whatever the optimizer had; momentum and the rest stay."""
    config.num_steps = schedule.steps
    config.batch_size = schedule.global_batch
    rate = getattr(config.optimizer, optimizer_name(config)).learning_rate
    rate.Clear()
    cosine = rate.cosine_decay_learning_rate
    cosine.learning_rate_base = schedule.rate
    cosine.total_steps = schedule.steps
    cosine.warmup_steps = schedule.steps // _WARMUP
    cosine.warmup_learning_rate = schedule.rate / _FIRST_RATE
