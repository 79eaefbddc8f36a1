"""The arithmetic of a run, on integers and fractions. Nothing here reads a file or rounds.

    replicas     = workers x max(1, gpus_per_worker)
    global_batch = replicas x per_replica_batch x accumulation_steps
    scale        = global_batch / reference_batch
    rate         = the reference's x scale              (linear rule, arXiv 1706.02677)
    steps        = ceil(the reference's / scale)        (the same number of images seen)

Batches are in images, rates per optimizer step.
"""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

LARGEST = 2**31 - 1
"""The largest batch or step count. pipeline.config holds uint32, TensorFlow casts to int32."""

_FLOAT32_DIGITS = 9  # that many significant digits tell any two float32 numbers apart


class NotWholeError(ValueError):
    """The global batch is no whole multiple of what the replicas do in one micro-step."""


@dataclass(frozen=True)
class Split:
    """How one optimizer step's images are divided."""

    replicas: int
    per_replica_batch: int
    accumulation_steps: int

    @property
    def global_batch(self) -> int:
        return self.replicas * self.per_replica_batch * self.accumulation_steps


@dataclass(frozen=True)
class Alternatives:
    """The valid choices nearest to a division that is not whole; one thing is changed in each.

    Each of `per_replica_batches` comes with its global batch: the asked one whenever that is a
    multiple of the replicas, else the next such multiple.
    """

    global_batches: tuple[int, ...]
    replicas: tuple[int, ...]
    per_replica_batches: tuple[tuple[int, int], ...]


def replica_count(workers: int, gpus_per_worker: int) -> int:
    """A worker without GPUs is one replica on its CPU."""
    _positive(workers=workers)
    if gpus_per_worker < 0:
        raise ValueError(f"gpus_per_worker is {gpus_per_worker}")
    return workers * max(1, gpus_per_worker)


def split(global_batch: int, replicas: int, per_replica_batch: int) -> Split:
    """Raises NotWholeError when the accumulation is not a whole number of steps >= 1."""
    _positive(global_batch=global_batch, replicas=replicas, per_replica_batch=per_replica_batch)
    steps, rest = divmod(global_batch, replicas * per_replica_batch)
    if rest or not steps:
        raise NotWholeError(f"{global_batch} / ({replicas} x {per_replica_batch})")
    return Split(replicas, per_replica_batch, steps)


def alternatives(global_batch: int, replicas: int, per_replica_batch: int) -> Alternatives:
    _positive(global_batch=global_batch, replicas=replicas, per_replica_batch=per_replica_batch)
    whole = global_batch % per_replica_batch == 0
    return Alternatives(
        global_batches=_multiples_around(global_batch, replicas * per_replica_batch),
        replicas=divisors_around(global_batch // per_replica_batch, replicas) if whole else (),
        per_replica_batches=_per_replica(global_batch, replicas, per_replica_batch),
    )


def largest_divisor(number: int, limit: int) -> int:
    """The largest divisor of `number` that is not above `limit`."""
    _positive(number=number, limit=limit)
    return max(d for d in _divisors(number) if d <= limit)


def divisors_around(number: int, near: int) -> tuple[int, ...]:
    """The divisors of `number` next below and next above `near`: two, one at an end."""
    divisors = _divisors(number)
    below = [d for d in divisors if d < near]
    above = [d for d in divisors if d > near]
    return tuple(([max(below)] if below else []) + ([min(above)] if above else []))


def scale_of(global_batch: int, reference_batch: int) -> Fraction:
    _positive(global_batch=global_batch, reference_batch=reference_batch)
    return Fraction(global_batch, reference_batch)


def scaled_steps(steps: int, scale: Fraction) -> int:
    """At least the images of the reference, less than one batch more."""
    if steps < 0 or scale <= 0:
        raise ValueError(f"{steps} steps at a scale of {scale}")
    return math.ceil(steps / scale)


def exact(value: float) -> Fraction:
    """The decimal number that a person wrote, from the float32 that a protobuf made of it.

    0.08 is read back as 0.07999999821186066; the shortest decimal with the same float32 is 0.08.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a number")
    single = as_float32(value)
    for digits in range(1, _FLOAT32_DIGITS + 1):
        text = f"{single:.{digits}g}"
        if as_float32(float(text)) == single:
            return Fraction(text)
    return Fraction(repr(single))


def as_float32(value: float) -> float:
    """`value` as a protobuf `float` field keeps it; infinite when it is too large for one."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def _multiples_around(number: int, step: int) -> tuple[int, ...]:
    """The multiples of `step` next below and above, without 0."""
    below = number // step * step
    return (below, below + step) if below else (step,)


def _per_replica(global_batch: int, replicas: int, near: int) -> tuple[tuple[int, int], ...]:
    """Per-replica batches next below and above `near`, each with the global batch it is for."""
    whole = global_batch % replicas == 0
    batches = (global_batch,) if whole else _multiples_around(global_batch, replicas)
    choices = [(d, g) for g in batches for d in divisors_around(g // replicas, near)]
    below = [c for c in choices if c[0] < near]
    above = [c for c in choices if c[0] > near]
    nearest = [min(side, key=lambda c: abs(c[0] - near)) for side in (below, above) if side]
    return tuple(nearest)


def _divisors(number: int) -> list[int]:
    """All of them, ascending; by trial, so `number` is at most LARGEST."""
    if not 0 < number <= LARGEST:
        raise ValueError(f"{number} is not in 1..{LARGEST}")
    low = [d for d in range(1, math.isqrt(number) + 1) if number % d == 0]
    return sorted({*low, *(number // d for d in low)})


def _positive(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}")
