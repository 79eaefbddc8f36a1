"""Our learning rate of a step equals the OD API's own schedule, over warm-up, peak and end."""

import pytest
from google.protobuf import text_format

from launcher.odapi import protos
from launcher.odapi.schedule import rate_at

SCHEDULES = {
    "cosine": "cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 300"
    " warmup_learning_rate: 0.001 warmup_steps: 25 }",
    "cosine with hold": "cosine_decay_learning_rate { learning_rate_base: 0.08 total_steps: 300"
    " warmup_learning_rate: 0.001 warmup_steps: 25 hold_base_rate_steps: 30 }",
    "cosine without warm-up": "cosine_decay_learning_rate { learning_rate_base: 0.01"
    " total_steps: 100 warmup_learning_rate: 0 warmup_steps: 0 }",
    "steps": "manual_step_learning_rate { initial_learning_rate: 1e-3"
    " schedule { step: 90 learning_rate: 1e-4 } schedule { step: 120 learning_rate: 1e-5 } }",
    "steps with warm-up": "manual_step_learning_rate { initial_learning_rate: 1e-4 warmup: true"
    " schedule { step: 90 learning_rate: 1e-3 } schedule { step: 120 learning_rate: 1e-5 } }",
    "exponential": "exponential_decay_learning_rate { initial_learning_rate: 0.04"
    " decay_steps: 40 decay_factor: 0.5 burnin_learning_rate: 0.002 burnin_steps: 20"
    " min_learning_rate: 0.0001 }",
    "smooth exponential": "exponential_decay_learning_rate { initial_learning_rate: 0.04"
    " decay_steps: 40 decay_factor: 0.5 staircase: false }",
    "exponential with a floor": "exponential_decay_learning_rate { initial_learning_rate: 0.04"
    " decay_steps: 40 decay_factor: 0.5 burnin_learning_rate: 0.002 burnin_steps: 20"
    " min_learning_rate: 0.01 }",
    "constant": "constant_learning_rate { learning_rate: 0.3 }",
}
STEPS = (0, 1, 12, 24, 25, 26, 54, 55, 56, 89, 90, 91, 119, 120, 150, 299, 300, 301, 5000)


def optimizer(schedule: str) -> protos.Message:
    return text_format.Parse(
        f"momentum_optimizer {{ learning_rate {{ {schedule} }} }}", protos.message("Optimizer")()
    )


def test_cosine_by_hand() -> None:
    cosine = optimizer(SCHEDULES["cosine"])
    assert rate_at(cosine, 0) == pytest.approx(0.001)
    assert rate_at(cosine, 25) == pytest.approx(0.08)
    assert rate_at(cosine, 25 + 275 // 2) == pytest.approx(0.04, rel=0.01)
    assert rate_at(cosine, 300) == pytest.approx(0.0, abs=1e-9)
    assert rate_at(cosine, 301) == 0.0


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", SCHEDULES)
def test_equals_the_od_api(name: str) -> None:
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    message = optimizer(SCHEDULES[name])
    step = tf.Variable(0, dtype=tf.int64)
    _, (theirs,) = optimizer_builder.build(message, global_step=step)
    for at in STEPS:
        step.assign(at)
        rate = float(theirs() if callable(theirs) else theirs)
        assert rate_at(message, at) == pytest.approx(rate, rel=1e-4, abs=1e-8), at
