"""What the curve of a loss says: each check with its fault and without it."""

import math
from typing import Any

from launcher.health import losses
from launcher.health.facts import Facts
from tests.report.made_run import STEPS, WARMUP, train_row


def facts(classification: Any, localization: Any = lambda step: 0.0, **more: Any) -> Facts:
    rows = [
        train_row(
            step,
            losses={
                "Loss/classification_loss": classification(step),
                "Loss/localization_loss": localization(step),
                "Loss/regularization_loss": 5.0 * math.exp(-step / 50),  # falls by itself
            },
        )
        for step in range(1, STEPS + 1)
    ]
    return Facts(rows, global_batch=32, warmup_steps=WARMUP, total_steps=STEPS, **more)


def names(found: Facts) -> set[str]:
    checks = (losses.not_falling, losses.oscillating, losses.at_prior)
    return {finding.name for check in checks for finding in check(found)}


def learns(step: int) -> float:
    """With the noise of a small batch."""
    return (3.0 * math.exp(-step / 40) + 0.2) * (1 + 0.4 * math.sin(7.3 * step))


def test_a_run_that_learns_is_left_in_peace() -> None:
    assert names(facts(learns, learns)) == set()


def test_a_loss_that_stays_where_it_began() -> None:
    (finding,) = losses.not_falling(facts(lambda step: 2.0 + 0.3 * math.sin(7.3 * step)))
    assert "now and was 2" in finding.evidence
    assert finding.place == "metrics/train.jsonl: steps 1 to 200"


def test_a_trained_detector_may_begin_where_it_ends() -> None:
    assert names(facts(lambda step: 0.3, lambda step: 0.2, trained_before=True)) == set()
    rising = facts(lambda step: 0.3 if step < 100 else 0.9, trained_before=True)
    assert names(rising) == {"loss-not-falling"}


def test_a_loss_that_rises_again() -> None:
    (finding,) = losses.not_falling(
        facts(lambda step: 0.2 + (100 - step if step < 100 else step / 3 - 33) / 15)
    )
    assert "it rises" in finding.evidence


def test_nothing_is_said_during_the_warm_up() -> None:
    whole = facts(lambda step: 2.0)
    part = Facts(whole.rows[:WARMUP], warmup_steps=WARMUP, total_steps=STEPS)
    assert names(part) == set()
    assert "loss-not-falling" in names(whole)


def test_a_loss_that_goes_up_and_down() -> None:
    swings = facts(lambda step: 1.0 + 0.8 * math.sin(step / 8) - step / 400)
    assert "loss-oscillating" in names(swings)
    noise = facts(lambda step: (1.0 - step / 400) * (1 + 0.8 * math.sin(7.3 * step)))
    assert "loss-oscillating" not in names(noise)


def test_classes_that_are_not_learned_while_boxes_are() -> None:
    found = facts(lambda step: 1.0, lambda step: 3.0 * math.exp(-step / 40))
    assert names(found) == {"classification-at-prior"}
    (finding,) = losses.at_prior(found)
    assert finding.evidence == (
        "Loss/classification_loss is 1 after 6,400 images; the untrained network had 1"
    )
