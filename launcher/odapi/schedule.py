"""The learning rate that a pipeline.config asks for at a step, computed without TensorFlow.

The worker compares it with the rate that its step applied. The formulas are those of the OD API's
utils/learning_schedules.py (a test holds the two equal), cosine after Loshchilov and Hutter,
SGDR, arXiv 1608.03983.
"""

import math

from launcher.odapi.protos import Message


def rate_at(optimizer: Message, step: int) -> float:
    """The rate applied by the update number `step` (0 is the first one), per optimizer step."""
    which = getattr(optimizer, optimizer.WhichOneof("optimizer"))
    kind = which.learning_rate.WhichOneof("learning_rate")
    return _RATES[kind](getattr(which.learning_rate, kind), step)


def _constant(c: Message, step: int) -> float:
    return float(c.learning_rate)


def _cosine(c: Message, step: int) -> float:
    """Linear from the warm-up rate to the base, an optional hold, then half a cosine to zero."""
    base, warmup, hold = c.learning_rate_base, c.warmup_steps, c.hold_base_rate_steps
    if step > c.total_steps:
        return 0.0
    if step < warmup:
        return float(c.warmup_learning_rate + step * (base - c.warmup_learning_rate) / warmup)
    if hold > 0 and step <= warmup + hold:
        return float(base)
    decay = max(1, c.total_steps - warmup - hold)
    return float(0.5 * base * (1 + math.cos(math.pi * (step - warmup - hold) / decay)))


def _exponential(c: Message, step: int) -> float:
    if step < c.burnin_steps:
        return float(max(c.burnin_learning_rate or c.initial_learning_rate, c.min_learning_rate))
    periods = (step - c.burnin_steps) / c.decay_steps
    if c.staircase:
        periods = math.floor(periods)
    return float(max(c.initial_learning_rate * c.decay_factor**periods, c.min_learning_rate))


def _manual_step(c: Message, step: int) -> float:
    if c.warmup and c.schedule and step < c.schedule[0].step:
        slope = (c.schedule[0].learning_rate - c.initial_learning_rate) / c.schedule[0].step
        return float(c.initial_learning_rate + slope * step)
    rate = c.initial_learning_rate
    for change in c.schedule:
        if step >= change.step:
            rate = change.learning_rate
    return float(rate)


_RATES = {
    "constant_learning_rate": _constant,
    "cosine_decay_learning_rate": _cosine,
    "exponential_decay_learning_rate": _exponential,
    "manual_step_learning_rate": _manual_step,
}
