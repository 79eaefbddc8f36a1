"""Proof of the plan: what each step really used is what was planned, or the run stops."""

import math

from launcher.errors import ConfigError
from launcher.odapi.protos import Message
from launcher.odapi.schedule import rate_at
from launcher.runtime.step import StepResult
from launcher.worker_config import WorkerConfig

_RELATIVE = 1e-4  # float32 of the optimizer against our double; a wrong schedule differs by more
_ABSOLUTE = 1e-6  # of the peak: the cosine's end, where float32 has lost its digits


def check_pipeline(config: WorkerConfig, train_config: Message) -> None:
    """The effective pipeline.config and the plan's numbers must agree before anything starts."""
    for place, has, planned in (
        ("train_config.batch_size", train_config.batch_size, config.global_batch),
        ("train_config.num_steps", train_config.num_steps, config.total_steps),
        (
            "replicas x per_replica_batch x accumulation_steps",
            config.replicas * config.per_replica_batch * config.accumulation_steps,
            config.global_batch,
        ),
    ):
        if has != planned:
            raise _differs(f"{place} is {has}, the plan says {planned}", "pipeline.config")


def check_step(config: WorkerConfig, optimizer: Message, result: StepResult) -> None:
    """Raises ConfigError when the step's images, micro-batches or rate are not the plan's."""
    place = f"step {result.step}"
    if result.images != config.global_batch:
        raise _differs(
            f"the step used {result.images} images, the plan says {config.global_batch}", place
        )
    micro_batches = config.replicas * config.accumulation_steps
    if result.micro_batches != micro_batches:
        raise _differs(
            f"the step used {result.micro_batches} micro-batches, the plan says {micro_batches}",
            place,
        )
    planned = rate_at(optimizer, result.step - 1)
    slack = _ABSOLUTE * config.learning_rate
    if not math.isclose(result.learning_rate, planned, rel_tol=_RELATIVE, abs_tol=slack):
        raise _differs(
            f"the step applied the learning rate {result.learning_rate:g}, "
            f"the plan says {planned:g}",
            place,
        )


def summary(config: WorkerConfig, result: StepResult) -> str:
    """One line for the log after the first step of an attempt."""
    divided = f", the summed loss divided by {result.divisor:g}" if result.divisor > 1 else ""
    return (
        f"applied at step {result.step}: global batch {result.images} = "
        f"{config.replicas} replicas x {config.per_replica_batch} images x "
        f"{result.micro_batches // config.replicas} accumulation steps, "
        f"learning rate {result.learning_rate:g} (as planned){divided}"
    )


def _differs(what: str, place: str) -> ConfigError:
    return ConfigError(what, place=place, remedy="This run would not be the one that was planned")
