"""`launcher baseline`: a trained checkpoint tells whether the data are sane.

Scored as it is, it has the mAP that it is known for, or the val images, their boxes or the label
map are not what it was trained on. Trained on at a very low rate it keeps that mAP, or the train
records teach it something else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import api
from launcher.backends.base import JobHandle
from launcher.backends.score_once import score_once
from launcher.diagnose import checkpoint, derive
from launcher.diagnose.verdict import Verdict, points
from launcher.errors import ConfigError, UsageError
from launcher.planning import Plan
from launcher.spec import JobSpec

KIND = "baseline"
STEPS = 300
SHARE = 0.1
"""Of the rate by the linear rule. `make demo`'s model of 0.848, 100 steps: 0.845 on its own data,
0.228 where the train records have each class's next, 0.210 with x and y of their boxes swapped."""
_BATCH = 32
"""Images a step, about: a few hundred steps of a global batch of 128 would take hours."""
_SCORES = 3
"""Checkpoints on the way."""
FAR_BELOW = 0.8
"""Of the known mAP. A choice: a hundred val images in place of all are some points off."""
NOTHING = 0.05
"""mAP: where none is known, as good as no detection."""
FALL = 0.1
"""Of the mAP before: between the figures above."""


@dataclass(frozen=True)
class Asked:
    """`rate` None: worked out from the plan."""

    checkpoint: Path
    steps: int = STEPS
    rate: float | None = None


@dataclass(frozen=True)
class Baseline:
    """What was scored, and the run that is ready to start."""

    made: api.Prepared
    before: dict[str, Any]
    """The row of eval.jsonl."""
    known: float | None
    """The mAP that was to be expected, a fraction."""


def prepare(
    spec: JobSpec, asked: Asked, *, replace: bool, force: bool, say: Callable[[str], None]
) -> Baseline:
    """Scores the checkpoint, then prepares the run that trains it on.

    Raises UsageError for a checkpoint that is none and a run that is there, ConfigError for one of
    another model, DataError for val records that cannot be scored.
    """
    if asked.steps < 1:
        raise UsageError(f"{asked.steps} steps", place="--steps", remedy="Give at least 1")
    prefix = checkpoint.find(asked.checkpoint)
    api.draw(spec)
    plan = api.plan(spec)
    made = _write(plan, asked, prefix, {})
    api.check_start(made, replace=replace)
    checked = derive.prepare(made, replace=replace, force=force)  # before minutes of scoring
    before = _score(plan, made, prefix, say)
    target = before["mAP"] * 100
    evaluate = {"target_map": target, "tolerance": FALL * target} if target > 1 else {}
    made = _write(plan, asked, prefix, evaluate)
    known = plan.target_map / 100 if plan.target_map else None
    return Baseline(api.Prepared(api.plan(made), checked.report), before, known)


def schedule(plan: Plan, asked: Asked) -> derive.Schedule:
    once = plan.per_replica_batch * max(1, plan.gpus_per_worker)
    batch = once * max(1, min(_BATCH, plan.global_batch) // once)
    rate = asked.rate or SHARE * derive.linear_rate(plan, batch)
    return derive.Schedule(asked.steps, rate, batch, plan.per_replica_batch)


def verdict(handle: JobHandle, before: float, known: float | None) -> Verdict:
    """Of a run that has ended well: both numbers, and what they mean."""
    after = float((handle.results().final or {}).get("mAP", 0.0))
    was = f" of {points(known)} that are known" if known is not None else ""
    numbers = f"mAP {points(before)}{was} before, {points(after)} after"
    ways = [*_val_is_suspect(before, known), *_train_is_suspect(before, after)]
    if not ways:
        return Verdict(
            True,
            f"the data are sane: {numbers} {handle.status().total_steps:,} steps at a low rate",
            ("what a training lacks is then its amount, rate, batch: `launcher check SPEC`",),
        )
    return Verdict(False, f"the data are suspect: {numbers}", tuple(ways))


def _val_is_suspect(before: float, known: float | None) -> list[str]:
    remedy = (
        "classes, label map or boxes are not those that it was trained on. "
        "`launcher data audit SPEC --full`, `launcher data view SPEC --val`"
    )
    if known is not None and before < FAR_BELOW * known:
        return [f"val: {points(before)} is far below {points(known)}: {remedy}"]
    if known is None and before < NOTHING:
        return [f"val: it finds next to nothing: {remedy}"]
    return []


def _train_is_suspect(before: float, after: float) -> list[str]:
    if after >= (1 - FALL) * before:
        return []
    return [
        f"train: a low rate took {(before - after) / before:.0%} of its mAP: boxes or classes of "
        "the train records are not those of the val records, or the rate is not low for this "
        "model (`--rate`). `launcher data audit SPEC --full`, `launcher data view SPEC`"
    ]


def _write(plan: Plan, asked: Asked, prefix: str, evaluate: dict[str, float]) -> JobSpec:
    sections = {
        "train": {
            "fine_tune_checkpoint": prefix,
            "fine_tune_type": "full",
            "checkpoint_every": {"steps": -(-asked.steps // _SCORES)},
        },
        "evaluate": evaluate,
    }
    return derive.write(plan, KIND, schedule(plan, asked), sections, augment=True)


def _score(plan: Plan, made: JobSpec, prefix: str, say: Callable[[str], None]) -> dict[str, Any]:
    folder = derive.folder_of(plan.spec, KIND)
    alone = api.plan(made.model_copy(update={"name": "before", "run_dir": folder}))
    try:
        return score_once(alone, prefix, say)
    except ConfigError as e:
        if "of another model" not in str(e):
            raise
        classes = plan.data.num_classes
        raise ConfigError(
            e.problems[0].what,
            remedy=f"It has to be of {plan.recipe or 'the same model'} with the same "
            f"{classes} classes; weights of others are for train.fine_tune_type: detection",
        ) from None
