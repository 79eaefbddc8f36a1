"""What the checks judge: the rows of one run, and of its plan what they are compared with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from launcher.contract import RunPaths, State
from launcher.errors import LauncherError
from launcher.odapi import pipeline
from launcher.odapi.schedule import rate_at
from launcher.run_record import read_score_rows, read_train_rows
from launcher.storage import read_json

TRAIN = "metrics/train.jsonl"
ENOUGH = 40
"""Rows that a judgement about a loss needs at least."""


@dataclass(frozen=True)
class Facts:
    """Rows are those of metrics/train.jsonl that count, by step; `scores` those of eval.jsonl;
    `beats` the newest heartbeat of each worker, by its number."""

    rows: Sequence[dict[str, Any]]
    scores: Sequence[dict[str, Any]] = ()
    beats: Sequence[dict[str, Any]] = ()
    global_batch: int = 1
    warmup_steps: int = 0
    total_steps: int = 0
    target_map: float | None = None
    """COCO points."""
    clip_norm: float = 0.0
    """train_config.gradient_clipping_by_norm; 0: none."""
    adaptive: bool = False
    """Adam or RMSProp: a gradient that is scaled as a whole gives nearly the same step."""
    trained_before: bool = False
    """It began with the weights of a detector: its loss may be low from the first step on."""
    rate: Callable[[int], float] | None = None
    """The planned rate of the step that a row calls `step`; None: not known."""

    @property
    def after_warmup(self) -> Sequence[dict[str, Any]]:
        return [row for row in self.rows if row["step"] > self.warmup_steps]

    @property
    def done(self) -> float:
        """Of the whole training, 0 to 1."""
        return self.rows[-1]["step"] / self.total_steps if self.rows and self.total_steps else 0.0

    def images(self, step: int) -> int:
        return step * self.global_batch


def read_facts(paths: RunPaths) -> Facts:
    """Of a run as its files are now; what is missing or unreadable is left empty."""
    plan = read_json(paths.plan)
    plan = plan if isinstance(plan, dict) else {}
    status = read_json(paths.status)
    status = status if isinstance(status, dict) else {}
    train_config = _train_config(paths)
    optimizer = train_config.optimizer if train_config else None
    beats = []
    if status.get("state") == State.RUNNING:
        beats = _beats(paths, int(plan.get("workers") or 1), status.get("attempt"))
    return Facts(
        rows=read_train_rows(paths),
        scores=[row for row in read_score_rows(paths) if row.get("mAP") is not None],
        beats=beats,
        global_batch=int(plan.get("global_batch") or 1),
        warmup_steps=int(plan.get("warmup_steps") or 0),
        total_steps=int(plan.get("total_steps") or 0),
        target_map=plan.get("target_map"),
        clip_norm=float(train_config.gradient_clipping_by_norm) if train_config else 0.0,
        adaptive=optimizer is not None
        and optimizer.WhichOneof("optimizer") != "momentum_optimizer",
        trained_before=_trained_before(plan.get("fine_tune")),
        rate=_rate(optimizer),
    )


def column(rows: Sequence[dict[str, Any]], key: str) -> list[float]:
    """The numbers that the rows have under `key`, rows without one left out."""
    return [float(row[key]) for row in rows if isinstance(row.get(key), int | float)]


def learned_loss(row: dict[str, Any]) -> float | None:
    """The loss without regularization, which weight decay lowers whatever is learned."""
    parts = row.get("losses") or {}
    values = [
        v for name, v in parts.items() if "regularization" not in name and "total_loss" not in name
    ]
    return sum(values) if values else row.get("loss")


def chunks(values: Sequence[float], count: int) -> list[float]:
    """The medians of `count` parts of about the same length, in order."""
    ends = [i * len(values) // count for i in range(count + 1)]
    return [median(values[a:b]) for a, b in pairwise(ends) if b > a]


def span(rows: Sequence[dict[str, Any]]) -> str:
    """The place of a finding about these rows."""
    return f"{TRAIN}: steps {rows[0]['step']:,} to {rows[-1]['step']:,}"


def _beats(paths: RunPaths, workers: int, attempt: Any) -> list[dict[str, Any]]:
    found = [read_json(paths.progress(i)) for i in range(workers)]
    return [
        {"worker": i, **beat}
        for i, beat in enumerate(found)
        if isinstance(beat, dict) and beat.get("attempt") == attempt
    ]


def _trained_before(fine_tune: Any) -> bool:
    kind = fine_tune.get("kind") if isinstance(fine_tune, dict) else None
    return kind is not None and kind != "classification"


def _train_config(paths: RunPaths) -> Any:
    try:
        return pipeline.read(paths.pipeline).train_config
    except LauncherError:
        return None


def _rate(optimizer: Any) -> Callable[[int], float] | None:
    try:
        rate_at(optimizer, 0)
    except (AttributeError, KeyError, TypeError, ZeroDivisionError):
        return None
    return lambda step: rate_at(optimizer, step - 1)
