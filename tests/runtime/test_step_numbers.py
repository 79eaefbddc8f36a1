"""A step's number and rate, where float32 or the OD API's own optimizer would have another."""

from typing import Any

import pytest

from launcher.odapi import compat
from launcher.odapi.pipeline import parse
from launcher.odapi.schedule import rate_at

pytestmark = pytest.mark.tensorflow

RATE = 0.1


def training(optimizer: str) -> Any:
    compat.load()
    from tests.runtime.tiny_model import TinyTraining

    rate = f"learning_rate {{ constant_learning_rate {{ learning_rate: {RATE} }} }}"
    text = f"train_config {{ batch_size: 4 optimizer {{ {optimizer} {{ {rate} %s }} }} }}"
    more = "decay: 0.75 momentum_optimizer_value: 0.5 epsilon: 1" if "rms" in optimizer else ""
    return TinyTraining(parse(text % more, "here").train_config)


def test_steps_are_counted_beyond_what_float32_counts() -> None:
    run = training("momentum_optimizer")
    run.done.assign(2**24)
    assert [run.one().step for _ in range(2)] == [2**24 + 1, 2**24 + 2]


def test_the_decay_of_rms_prop_is_of_its_mean_and_not_of_the_rate() -> None:
    """The OD API names it to Keras as `decay`: the rate of the third step would be a third."""
    run = training("rms_prop_optimizer")
    weight = square = change = 0.0
    for step in range(4):
        result = run.one()
        assert result.learning_rate == pytest.approx(rate_at(run.config.optimizer, step))
        square += 0.25 * (1.0 - square)  # of the gradient, which is 1
        change = 0.5 * change + RATE / (square + 1) ** 0.5
        weight -= change
        assert float(run.model.weight) == pytest.approx(weight, rel=1e-5)
