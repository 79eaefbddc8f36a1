"""The part of the plan that workers and evaluator read, as JSON. Standard library only."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from launcher.errors import ConfigError


@dataclass(frozen=True)
class WorkerConfig:
    """The part of the plan that workers and evaluator read: `plan.json`'s key `worker_config`.

    Everything about model, data and schedule is in `pipeline.config` beside it. The arithmetic is
    here a second time on purpose: the worker compares it with what the step really used.

    Units: batches in images, rates per optimizer step, times in seconds or minutes as named.
    """

    name: str
    workers: int
    gpus_per_worker: int
    replicas: int
    global_batch: int
    per_replica_batch: int
    accumulation_steps: int
    learning_rate: float  # the schedule's peak
    warmup_learning_rate: float
    warmup_steps: int
    total_steps: int
    seed: int = 0
    precision: str = "float32"  # float32 | mixed_bfloat16
    loss_normalizer: str = "global"  # global: the matches of the global batch | micro_batch
    loss_images: int | None = None  # of a loss without divisor: those of the recipe's batch
    norm: str = "batch"  # batch | renorm | moving | group | frozen; never auto: the plan has chosen
    statistics_images: int | None = None  # images of one set of moments; None: the micro-batch
    sync_batch_norm: bool = False  # moments over the replicas, in every norm layer
    ema_decay: float | None = None  # moving average of the weights; None: none is kept
    recompute: bool = False  # activations of the backbone computed again in the backward pass
    checkpoint_steps: int = 1000
    checkpoint_minutes: float = 15.0
    keep_checkpoints: int = 7
    stall_timeout_seconds: float = 300.0
    train_images: int | None = None  # expected in the train records; None: not checked
    val_images: int | None = None  # expected in the val records; None: not checked
    max_bad_records: int = 0  # records that may be counted and skipped, each worker's own count
    evaluate_every: str = "checkpoint"  # checkpoint | newest | last

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, plan_json: Path) -> "WorkerConfig":
        """Raises ConfigError when the file is missing, torn or of another version, and OSError."""
        place = str(plan_json)
        try:
            data = json.loads(plan_json.read_text())["worker_config"]
        except FileNotFoundError:
            raise ConfigError("no such file", place=place, remedy="submit the run again") from None
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(
                f"not a plan ({e!r})", place=place, remedy="submit the run again"
            ) from None
        names = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - names):
            raise ConfigError(
                f"unknown keys {', '.join(unknown)}: written by another version of launcher",
                place=place,
                remedy="run the workers with the version that planned the run",
            )
        try:
            return cls(**data)
        except TypeError as e:
            raise ConfigError(
                f"incomplete ({e})", place=place, remedy="submit the run again"
            ) from None
