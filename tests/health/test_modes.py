"""Training and inference apart: the finding, and when there is none."""

from typing import Any

import pytest

from launcher import health
from launcher.health import modes
from launcher.health.facts import Facts


def scored(*ratios: float, over: int = 2, **more: Any) -> Facts:
    rows = [
        {
            "step": 10 * i,
            "mAP": 0.3,
            "modes": {
                "inference_loss": 0.4 * ratio,
                "training_loss": 0.4,
                "images": 16,
                "moments_over": over,
            }
            | more,
        }
        for i, ratio in enumerate(ratios, 1)
    ]
    return Facts([], scores=rows, total_steps=40)


def test_two_networks() -> None:
    (finding,) = modes.apart(scored(0.9, 3.5))
    assert finding.name == "norm-modes-apart"
    assert finding.place == "metrics/eval.jsonl: step 20"
    assert "16 val images is 1.4 in inference and 0.4 with moments of 2 images" in finding.evidence
    assert "3.5 times as much" in finding.evidence
    assert "train.norm: auto" in finding.remedy
    assert finding in health.look(scored(0.9, 3.5))


def test_one_network() -> None:
    assert modes.apart(scored(3.5, 1.1)) == []  # it was so, and is no more
    assert modes.apart(scored(0.58, 0.96)) == []
    assert modes.apart(scored(2.9)) == []  # a quarter of the training: averages lag


def test_many_images_have_another_remedy() -> None:
    (finding,) = modes.apart(scored(1.0, 2.2, over=16))
    assert "averages of the statistics do not follow" in finding.remedy


@pytest.mark.parametrize(
    "row", [{"step": 5, "mAP": 0.1}, {"step": 5, "mAP": 0.1, "modes": None}, {"modes": {}}]
)
def test_rows_without_both(row: dict[str, Any]) -> None:
    assert modes.apart(Facts([], scores=[row])) == []
