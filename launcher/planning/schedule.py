"""The learning rate schedule of a train_config: its numbers, and the same schedule at a scale.

Every rate and every number of steps of a schedule is scaled, and `num_steps` moves with the
schedule's end: past `total_steps` the OD API's cosine returns a rate of 0, so that raising only
`num_steps` trains nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message
from launcher.planning.arithmetic import LARGEST, as_float32, exact, scaled_steps

_RATES = {
    "constant_learning_rate": ("learning_rate",),
    "cosine_decay_learning_rate": ("learning_rate_base", "warmup_learning_rate"),
    "exponential_decay_learning_rate": (
        "initial_learning_rate",
        "burnin_learning_rate",
        "min_learning_rate",
    ),
    "manual_step_learning_rate": ("initial_learning_rate",),
}
_STEPS = {
    "cosine_decay_learning_rate": ("warmup_steps", "hold_base_rate_steps"),
    "exponential_decay_learning_rate": ("burnin_steps", "decay_steps"),
}


@dataclass(frozen=True)
class Facts:
    """What a train_config asks for. Rates per step, as a person would write them (0.08).

    `warmup_learning_rate` is the rate of the first step; without a warm-up that is the first
    rate of the schedule and `warmup_steps` is 0. `start` is the kind of checkpoint that the
    training starts from, empty for none.
    """

    batch: int
    learning_rate: float
    warmup_learning_rate: float
    warmup_steps: int
    total_steps: int
    schedule: str
    optimizer: str
    start: str = ""

    @property
    def images(self) -> int:
        """Seen in the whole training, each as often as it is seen."""
        return self.batch * self.total_steps


def facts_of(train_config: Message, place: str) -> Facts:
    """Raises SpecError, its place being `place`, for numbers that cannot be trained with."""
    optimizer, kind, schedule = _schedule(train_config, place)
    steps = total_steps(train_config)
    rates = [getattr(schedule, name) for name in _RATES[kind]]
    rates += [change.learning_rate for change in _changes(kind, schedule)]
    unsound = [rate for rate in rates if not (math.isfinite(rate) and rate >= 0)]
    if unsound:
        raise _error(place, kind, f"a rate of {unsound[0]:g}", "Rates are finite and not negative")
    if not 0 < train_config.batch_size <= LARGEST:
        what = f"batch_size is {train_config.batch_size}"
        raise _error(place, "", what, f"Use 1 to {LARGEST}")
    if not 0 < steps <= LARGEST:
        remedy = "Set num_steps: 0 would train for ever" if not steps else f"At most {LARGEST}"
        raise _error(place, "", f"num_steps is {steps}", remedy)
    peak, first, warmup = _shape(kind, schedule)
    if not peak > 0:
        raise _error(place, kind, "the learning rate is 0", "Use a rate above 0")
    _require_sound(kind, schedule, steps, place)
    return Facts(
        batch=train_config.batch_size,
        learning_rate=float(exact(peak)),
        warmup_learning_rate=float(exact(first)),
        warmup_steps=warmup,
        total_steps=steps,
        schedule=kind.removesuffix("_learning_rate"),
        optimizer=optimizer.removesuffix("_optimizer"),
        start=start_of(train_config),
    )


def rescale(
    train_config: Message, *, steps: Fraction | int, rates: Fraction | int, place: str
) -> None:
    """Divides every number of steps by `steps`, multiplies every rate by `rates`, in place.

    `num_steps` and the schedule's end are equal afterwards. Raises SpecError when nothing sound
    is left: no step between two changes of the rate, or a number that no field can hold.
    """
    _, kind, schedule = _schedule(train_config, place)
    steps = Fraction(steps)
    total = _scaled(total_steps(train_config), steps, place)
    for name in _STEPS.get(kind, ()):
        if value := getattr(schedule, name):
            setattr(schedule, name, _scaled(value, steps, place))
    for name in _RATES[kind]:
        if value := getattr(schedule, name):
            setattr(schedule, name, _rate(value, rates, place))
    for change in _changes(kind, schedule):
        change.step = _scaled(change.step, steps, place)
        change.learning_rate = _rate(change.learning_rate, rates, place)
    if kind == "cosine_decay_learning_rate":
        schedule.total_steps = total
    train_config.num_steps = total


def start_of(train_config: Message) -> str:
    """The kind of checkpoint that it starts from, as the OD API reads it; empty: from none."""
    if not train_config.fine_tune_checkpoint:
        return ""
    implied = "detection" if train_config.from_detection_checkpoint else "classification"
    return str(train_config.fine_tune_checkpoint_type) or implied


def total_steps(train_config: Message) -> int:
    """num_steps; where a file has none (0: for ever), the end of its schedule."""
    if train_config.num_steps:
        return int(train_config.num_steps)
    return schedule_end(train_config) or 0


def schedule_end(train_config: Message) -> int | None:
    """The step at which the schedule itself says that it ends; only a cosine does."""
    _, learning_rate = _learning_rate(train_config)
    if learning_rate is None or not learning_rate.HasField("cosine_decay_learning_rate"):
        return None
    return int(learning_rate.cosine_decay_learning_rate.total_steps)


def optimizer_name(train_config: Message) -> str:
    """momentum_optimizer, ...; empty when there is none."""
    return str(train_config.optimizer.WhichOneof("optimizer") or "")


def _learning_rate(train_config: Message) -> tuple[str, Message | None]:
    optimizer = optimizer_name(train_config)
    return optimizer, getattr(
        train_config.optimizer, optimizer
    ).learning_rate if optimizer else None


def _schedule(train_config: Message, place: str) -> tuple[str, str, Message]:
    optimizer, learning_rate = _learning_rate(train_config)
    kind = learning_rate.WhichOneof("learning_rate") if learning_rate is not None else None
    if kind is None:
        missing = f"optimizer.{optimizer}.learning_rate" if optimizer else "optimizer"
        what = f"train_config.{missing} is not set"
        raise SpecError([Problem(place, what, "Set it, or name a recipe that has one")])
    return optimizer, kind, getattr(learning_rate, kind)


def _shape(kind: str, schedule: Message) -> tuple[float, float, int]:
    """Peak rate, rate of the first step, and steps until the peak."""
    if kind == "cosine_decay_learning_rate":
        peak, warmup = schedule.learning_rate_base, schedule.warmup_steps
        return peak, schedule.warmup_learning_rate if warmup else peak, warmup
    if kind == "exponential_decay_learning_rate":
        least, warmup = schedule.min_learning_rate, schedule.burnin_steps
        peak = max(schedule.initial_learning_rate, least)
        return peak, max(schedule.burnin_learning_rate or peak, least) if warmup else peak, warmup
    if kind == "manual_step_learning_rate":
        first = schedule.initial_learning_rate
        peak = max([first, *(change.learning_rate for change in schedule.schedule)])
        warmup = schedule.schedule[0].step if schedule.warmup and schedule.schedule else 0
        return peak, first, warmup
    return schedule.learning_rate, schedule.learning_rate, 0


def _require_sound(kind: str, schedule: Message, steps: int, place: str) -> None:
    """What the OD API's schedules would stop at, or silently make a NaN of."""
    if kind == "cosine_decay_learning_rate":
        before = schedule.warmup_steps + schedule.hold_base_rate_steps
        if before >= steps:
            what = f"{before} steps of warm-up and hold leave none of {steps} for the decay"
            raise _error(place, kind, what, "Use a smaller global batch or more steps")
        if schedule.warmup_steps and schedule.warmup_learning_rate > schedule.learning_rate_base:
            what = "warmup_learning_rate is above learning_rate_base"
            raise _error(place, kind, what, "Start the warm-up below the peak")
    if kind == "exponential_decay_learning_rate":
        if not schedule.decay_steps:
            raise _error(place, kind, "decay_steps is 0", "Use at least 1")
        factor = schedule.decay_factor
        if not (math.isfinite(factor) and factor > 0):
            raise _error(place, kind, f"decay_factor is {factor:g}", "Use one above 0 and up to 1")
    if kind == "manual_step_learning_rate":
        changes = [change.step for change in schedule.schedule]
        if not changes:
            raise _error(place, kind, "it has no schedule", "Add schedule { step: learning_rate: }")
        if any(b <= a for a, b in zip([0, *changes], changes, strict=False)):
            what = f"the rate changes at steps {', '.join(map(str, changes))}: not rising from 1"
            raise _error(place, kind, what, "Use a smaller global batch or later steps")


def _changes(kind: str, schedule: Message) -> Iterator[Message]:
    return iter(schedule.schedule if kind == "manual_step_learning_rate" else ())


def _scaled(steps: int, scale: Fraction, place: str) -> int:
    scaled = scaled_steps(steps, scale)
    if scaled > LARGEST:
        what = f"{steps} steps become {scaled}, more than {LARGEST}"
        raise SpecError([Problem(place, what, "Use a larger global batch")])
    return scaled


def _rate(rate: float, scale: Fraction | int, place: str) -> float:
    if not math.isfinite(rate):
        raise SpecError([Problem(place, f"a rate of {rate:g}", "Rates are finite")])
    scaled = float(exact(rate) * scale)
    if not math.isfinite(as_float32(scaled)):
        what = f"a rate of {rate:g} becomes {scaled:g}, more than float32 holds"
        raise SpecError([Problem(place, what, "Use a smaller global batch")])
    return scaled


def _error(place: str, kind: str, what: str, remedy: str) -> SpecError:
    return SpecError([Problem(place, f"{kind}: {what}" if kind else what, remedy)])
