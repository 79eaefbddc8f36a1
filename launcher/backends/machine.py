"""What this machine offers to a run, and whether the run asks for more."""

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.errors import MissingExtraError, UsageError
from launcher.render.local import Machine

if TYPE_CHECKING:
    from launcher.planning import Plan

NO_DEPS = "tf-models-research-object-detection==2.8.0.post1 tf-models-official==2.20.0 lvis==0.5.3"
"""Their declared pins contradict each other and TensorFlow's: they go beside the extra."""

_TRAINING = ("tensorflow", "tf_keras", "object_detection", "official")


def this_machine(dev: Path = Path("/dev"), env: Mapping[str, str] = os.environ) -> Machine:
    return Machine(sys.executable, _cores(), _gpus(dev, env))


def _cores() -> int:
    """Those that this process may run on: a container has fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpus(dev: Path, env: Mapping[str, str]) -> tuple[str, ...]:
    """CUDA_VISIBLE_DEVICES where it is set, else one for each /dev/nvidia<number>."""
    if (visible := env.get("CUDA_VISIBLE_DEVICES")) is not None:
        named = (part.strip() for part in visible.split(","))
        return tuple(part for part in named if part and part != "-1")
    numbers = sorted(
        int(p.name.removeprefix("nvidia"))
        for p in dev.glob("nvidia[0-9]*")
        if p.name.removeprefix("nvidia").isdecimal()
    )
    return tuple(map(str, numbers))


def check_gpus(plan: "Plan", machine: Machine) -> None:
    """Raises UsageError when the run asks for more GPUs than there are."""
    workers, each = plan.workers, plan.gpus_per_worker
    scoring = plan.spec.evaluate.gpus or 0
    asked = workers * each + scoring
    if asked <= len(machine.gpus):
        return
    parts = f"{workers} x {each} for the workers"
    parts += f" and {scoring} for the evaluator" if scoring else ""
    raise UsageError(
        f"{asked} GPUs are asked for ({parts}), this machine has {len(machine.gpus)}",
        place=plan.spec.place("cluster.gpus_per_worker"),
        remedy="Lower it (0 trains on the CPU), or name the GPUs in CUDA_VISIBLE_DEVICES when they "
        "are not /dev/nvidia0, /dev/nvidia1, ...",
    )


def check_training_extra(
    has: Callable[[str], object] = importlib.util.find_spec,
) -> None:
    """Raises MissingExtraError; looks the packages up without importing any."""
    missing = [name for name in _TRAINING if has(name) is None]
    if missing:
        raise MissingExtraError(
            f"training needs packages that are not installed ({', '.join(missing)})",
            remedy=f"Run `pip install 'launcher[train]'` and `pip install --no-deps {NO_DEPS}`",
        )
