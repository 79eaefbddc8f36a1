"""Schedules are scaled whole: every rate, every number of steps, and num_steps with them."""

from fractions import Fraction
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import SpecError
from launcher.odapi.protos import message
from launcher.odapi.schedule import rate_at
from launcher.planning.arithmetic import as_float32
from launcher.planning.schedule import facts_of, rescale

PLACE = "my.config: train_config"

COSINE = """cosine_decay_learning_rate {
  learning_rate_base: 0.08 total_steps: 300000 warmup_learning_rate: 0.001 warmup_steps: 2500 }"""
HELD = """cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 1000
  warmup_learning_rate: 0.001 warmup_steps: 100 hold_base_rate_steps: 200 }"""
STEPS = """manual_step_learning_rate { initial_learning_rate: 0.001
  schedule { step: 90000 learning_rate: 0.0001 } schedule { step: 120000 learning_rate: 1e-05 } }"""
WARM_STEPS = """manual_step_learning_rate { initial_learning_rate: 0.001 warmup: true
  schedule { step: 500 learning_rate: 0.04 } schedule { step: 9000 learning_rate: 0.004 } }"""
DECAY = """exponential_decay_learning_rate { initial_learning_rate: 0.004 decay_steps: 800
  decay_factor: 0.95 burnin_learning_rate: 0.0004 burnin_steps: 100 min_learning_rate: 1e-05 }"""
CONSTANT = "constant_learning_rate { learning_rate: 0.01 }"
ALL = {"cosine": COSINE, "hold": HELD, "steps": STEPS, "warm": WARM_STEPS, "decay": DECAY}
ALL["constant"] = CONSTANT


def config(learning_rate: str, *, steps: int = 300_000, batch: int = 128) -> Any:
    text = f"""batch_size: {batch} num_steps: {steps}
      optimizer {{ momentum_optimizer {{ learning_rate {{ {learning_rate} }} }} }}"""
    return text_format.Parse(text, message("TrainConfig")())


def scaled(learning_rate: str, scale: Fraction | int, **kwargs: int) -> Any:
    result = config(learning_rate, **kwargs)
    rescale(result, steps=scale, rates=scale, place=PLACE)
    return result


def schedule_of(train_config: Any) -> Any:
    rate = train_config.optimizer.momentum_optimizer.learning_rate
    return getattr(rate, rate.WhichOneof("learning_rate"))


def test_half_a_cosine() -> None:
    found = scaled(COSINE, Fraction(1, 2))
    facts = facts_of(found, PLACE)
    assert (facts.learning_rate, facts.warmup_learning_rate) == (0.04, 0.0005)
    assert (facts.warmup_steps, facts.total_steps) == (5_000, 600_000)
    assert found.num_steps == schedule_of(found).total_steps == 600_000


def test_the_hold_of_a_cosine_is_scaled_too() -> None:
    assert schedule_of(scaled(HELD, Fraction(1, 4), steps=1000)).hold_base_rate_steps == 800


def test_every_boundary_of_a_piecewise_schedule_is_scaled() -> None:
    found = scaled(STEPS, Fraction(1, 4), steps=140_000)
    schedule = schedule_of(found)
    assert [change.step for change in schedule.schedule] == [360_000, 480_000]
    rates = [schedule.initial_learning_rate] + [c.learning_rate for c in schedule.schedule]
    assert rates == pytest.approx([0.00025, 0.000025, 0.0000025], rel=1e-6)
    assert found.num_steps == 560_000


def test_a_piecewise_warm_up_lasts_until_the_first_boundary() -> None:
    facts = facts_of(config(WARM_STEPS), PLACE)
    assert (facts.warmup_learning_rate, facts.learning_rate) == (0.001, 0.04)
    assert facts.warmup_steps == 500
    assert facts_of(config(STEPS), PLACE).warmup_steps == 0


def test_exponential_decay_is_scaled_whole() -> None:
    schedule = schedule_of(scaled(DECAY, 2))
    assert (schedule.decay_steps, schedule.burnin_steps) == (400, 50)
    assert schedule.initial_learning_rate == pytest.approx(0.008)
    assert schedule.burnin_learning_rate == pytest.approx(0.0008)
    assert schedule.min_learning_rate == pytest.approx(2e-5)
    assert schedule.decay_factor == pytest.approx(0.95)


def test_the_floor_of_an_exponential_decay_is_that_of_its_burn_in_too() -> None:
    floor = "min_learning_rate: 0.001"
    facts = facts_of(config(DECAY.replace("min_learning_rate: 1e-05", floor)), PLACE)
    assert (facts.warmup_learning_rate, facts.learning_rate) == (0.001, 0.004)


def test_steps_can_be_scaled_without_the_rates() -> None:
    found = config(COSINE)
    rescale(found, steps=Fraction(1, 2), rates=1, place=PLACE)
    facts = facts_of(found, PLACE)
    assert (facts.learning_rate, facts.total_steps) == (0.08, 600_000)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "optimizer", ["momentum_optimizer", "rms_prop_optimizer", "adam_optimizer"]
)
def test_every_schedule_of_every_optimizer_follows_the_images(name: str, optimizer: str) -> None:
    """At the same number of images seen, the scaled rate is the scale times the original's."""
    before = config(ALL[name], steps=1000)
    text = text_format.MessageToString(before).replace("momentum_optimizer {", f"{optimizer} {{")
    before = text_format.Parse(text, message("TrainConfig")())
    after = message("TrainConfig")()
    after.CopyFrom(before)
    rescale(after, steps=Fraction(1, 4), rates=Fraction(1, 4), place=PLACE)
    for step in (0, 1, 50, 99, 400, 500, 501, 799, 999):
        rate = rate_at(after.optimizer, 4 * step)
        assert rate == pytest.approx(rate_at(before.optimizer, step) / 4, rel=1e-5)


@given(
    st.sampled_from(sorted(ALL)),
    st.integers(1, 512),
    st.integers(1, 512),
    st.integers(1_000, 1_000_000),
)
@settings(deadline=None, max_examples=150)
def test_a_scaled_config_can_be_trained_or_is_refused(
    name: str, batch: int, global_batch: int, steps: int
) -> None:
    scale = Fraction(global_batch, batch)
    try:
        found = scaled(ALL[name], scale, steps=steps, batch=batch)
        facts = facts_of(found, PLACE)
    except SpecError:
        return  # merged boundaries, or nothing left after the warm-up: tested below
    assert 0 <= facts.total_steps * global_batch - steps * batch < global_batch
    assert facts.warmup_steps < facts.total_steps or name != "cosine"
    if name in ("cosine", "hold"):
        assert schedule_of(found).total_steps == found.num_steps


def test_a_config_without_num_steps_ends_with_its_cosine() -> None:
    assert facts_of(config(COSINE, steps=0), PLACE).total_steps == 300_000


def test_num_steps_wins_over_the_schedules_end() -> None:
    found = scaled(COSINE, 1, steps=600_000)
    assert found.num_steps == schedule_of(found).total_steps == 600_000


REFUSED = {
    "no optimizer": (lambda: message("TrainConfig")(), "train_config.optimizer is not set"),
    "no schedule": (
        lambda: config(""),
        "train_config.optimizer.momentum_optimizer.learning_rate is not set",
    ),
    "endless": (lambda: config(CONSTANT, steps=0), "num_steps is 0. Set num_steps"),
    "no images": (lambda: config(CONSTANT, batch=0), "batch_size is 0"),
    "too many steps": (lambda: config(CONSTANT, steps=2**32 - 1), "num_steps is 4294967295"),
    "rate 0": (lambda: config(CONSTANT.replace("0.01", "0.0")), "the learning rate is 0"),
    "negative": (lambda: config(CONSTANT.replace("0.01", "-1.0")), "a rate of -1"),
    "nan": (lambda: config(CONSTANT.replace("0.01", "nan")), "a rate of nan"),
    "falling warm-up": (
        lambda: config(COSINE.replace("0.001", "0.1")),
        "warmup_learning_rate is above learning_rate_base",
    ),
    "all warm-up": (
        lambda: config(COSINE, steps=2500),
        "2500 steps of warm-up and hold leave none",
    ),
    "no boundaries": (
        lambda: config("manual_step_learning_rate { initial_learning_rate: 0.1 }"),
        "it has no schedule",
    ),
    "boundary 0": (lambda: config(STEPS.replace("90000", "0")), "changes at steps 0, 120000"),
    "falling boundaries": (lambda: config(STEPS.replace("90000", "120000")), "not rising"),
    "no decay": (lambda: config(DECAY.replace("800", "0")), "decay_steps is 0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_that_cannot_be_trained_with_are_refused(name: str) -> None:
    make, message_text = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        facts_of(make(), PLACE)
    assert message_text in str(caught.value)
    assert str(caught.value).startswith(f"{PLACE}: ")


def test_a_scale_that_merges_boundaries_is_refused() -> None:
    found = scaled(STEPS, 2**20, steps=140_000)
    with pytest.raises(SpecError, match="the rate changes at steps 1, 1"):
        facts_of(found, PLACE)


def test_steps_that_no_field_can_hold_are_refused() -> None:
    with pytest.raises(SpecError, match=r"more than 2147483647\. Use a larger global batch"):
        scaled(COSINE, Fraction(1, 2**20))


def test_rates_that_no_field_can_hold_are_refused() -> None:
    with pytest.raises(SpecError, match="more than float32 holds"):
        rescale(config(CONSTANT), steps=1, rates=Fraction(10) ** 50, place=PLACE)


def test_rates_are_read_as_they_were_written() -> None:
    facts = facts_of(config(COSINE), PLACE)
    assert as_float32(0.08) != 0.08
    assert facts.learning_rate == 0.08
