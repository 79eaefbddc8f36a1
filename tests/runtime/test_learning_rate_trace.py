"""The rate that moves the weights is the OD API's own schedule's at that step: no lag of one.

Not the rate that is reported: the one that the change of a weight with a known gradient shows.
"""

from typing import Any

import pytest
from google.protobuf import text_format

from launcher import recipes
from launcher.odapi import compat, pipeline, protos
from launcher.planning import make_plan
from launcher.spec import from_mapping

pytestmark = pytest.mark.tensorflow

COSINE = "efficientdet_d3"
MANUAL = "centernet_hourglass104_512"
OTHERS = {
    "exponential": "exponential_decay_learning_rate { initial_learning_rate: 0.04 decay_steps: 4"
    " decay_factor: 0.5 burnin_learning_rate: 0.002 burnin_steps: 3 }",
    "steps with warm-up": "manual_step_learning_rate { initial_learning_rate: 1e-4 warmup: true"
    " schedule { step: 4 learning_rate: 1e-3 } schedule { step: 8 learning_rate: 1e-5 } }",
    "constant": "constant_learning_rate { learning_rate: 0.3 }",
}


@pytest.fixture(autouse=True)
def tensorflow() -> None:
    compat.load()


def od_api_rates(train_config: Any, steps: list[int]) -> list[float]:
    """Of the OD API's optimizer_builder."""
    import tensorflow as tf
    from object_detection.builders import optimizer_builder

    step = tf.Variable(0, dtype=tf.int64)
    _, (schedule,) = optimizer_builder.build(train_config.optimizer, global_step=step)
    rates = []
    for at in steps:
        step.assign(at)
        rates.append(float(schedule() if callable(schedule) else schedule))
    return rates


def applied_rates(train_config: Any, steps: list[int]) -> list[tuple[float, float]]:
    """Reported and really applied: -change + momentum's part of it, for a gradient of 1."""
    from tests.runtime.tiny_model import TinyTraining

    training = TinyTraining(train_config)
    kind = train_config.optimizer.WhichOneof("optimizer")
    momentum = (
        getattr(train_config.optimizer, kind).momentum_optimizer_value
        if (kind == "momentum_optimizer")
        else 0.0
    )
    rates = []
    change = 0.0
    for at in steps:
        training.done.assign(at)
        training.model.weight.assign(0.0)
        before, result = change, training.one()
        assert result.step == at + 1
        change = float(training.model.weight.numpy())
        rates.append((result.learning_rate, momentum * before - change))
    return rates


def check(train_config: Any, published: Any, steps: list[int]) -> None:
    expected = od_api_rates(published, steps)
    assert len(set(expected)) > 1 or "constant" in str(published.optimizer)
    peak = max(expected)
    for at, rate, (reported, applied) in zip(
        steps, expected, applied_rates(train_config, steps), strict=True
    ):
        assert reported == pytest.approx(rate, rel=1e-6, abs=1e-8 * peak), at
        assert applied == pytest.approx(rate, rel=1e-4, abs=1e-5 * peak), at


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        (COSINE, [0, 1, 2, 1249, 2498, 2499, 2500, 2501, 2502, 150_000, 299_998, 299_999]),
        (MANUAL, [0, 1, 89_999, 90_000, 90_001, 119_999, 120_000, 139_999]),
    ],
)
def test_the_plan_s_schedule_at_the_reference_batch(recipe: str, steps: list[int]) -> None:
    """From the plan's effective pipeline.config, against the published file."""
    published = recipes.get(recipe).build()
    plan = make_plan(
        from_mapping(
            {
                "name": "trace",
                "recipe": recipe,
                "cluster": {"workers": 2, "gpus_per_worker": 8},
                "batch": {
                    "per_replica_batch": 2,
                    "global_batch": published.train_config.batch_size,
                },
            }
        )
    )
    assert plan.accumulation_steps == 4
    assert plan.total_steps - 1 == steps[-1]
    effective = pipeline.parse(plan.pipeline_text, place="effective")
    check(effective.train_config, published.train_config, steps)


@pytest.mark.parametrize("schedule", OTHERS)
def test_other_schedules(schedule: str) -> None:
    config = protos.message("TrainConfig")()
    text_format.Parse(
        f"optimizer {{ momentum_optimizer {{ learning_rate {{ {OTHERS[schedule]} }} }} }}", config
    )
    check(config, config, list(range(12)))
