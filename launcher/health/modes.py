"""Is it one network? The same val images in the modes of training and of inference.

The evaluator computes both losses at each checkpoint (evaluate/both_modes.py).
"""

from typing import Any

from launcher.health.facts import Facts
from launcher.preflight.finding import Cost, Finding, Severity

APART = 1.5
"""Loss in inference over that in training. `make demo`'s model, 16 val images: batch norm over 2
images x 16 micro-batches 2.2 at two thirds of 225 steps, where its mAP was 0.126; the demo over 16
images at most 0.98 from half of its steps on."""
BY = 0.5
"""Of the training. While weights move fast, the averages lag behind in healthy runs too: the demo
had 2.9 at a quarter of 500 steps (and 0.94 at a quarter of 1,000)."""


def apart(facts: Facts) -> list[Finding]:
    """By the newest checkpoint that was compared."""
    rows = [row for row in facts.scores if _both(row)]
    if not rows:
        return []
    row = max(rows, key=lambda r: r["step"])
    modes = row["modes"]
    inference, training = modes["inference_loss"], modes["training_loss"]
    if row["step"] < BY * facts.total_steps or training <= 0 or inference < APART * training:
        return []
    over, few = modes["moments_over"], "the moments of so few images are noise"
    return [
        Finding(
            name="norm-modes-apart",
            severity=Severity.WARNING,
            place=f"metrics/eval.jsonl: step {row['step']:,}",
            evidence=f"the loss of the same {modes['images']} val images is {inference:.3g} in "
            f"inference and {training:.3g} with moments of {over} images as in training: "
            f"{inference / training:.1f} times as much",
            cost=Cost("the mAP is of another network than the one that is trained", 0.7),
            remedy=_remedy(over, few),
        )
    ]


def _remedy(over: int, few: str) -> str:
    """Few images: the usual cause. Many: averages that do not follow."""
    if over < 8:
        return (
            f"{few}: train.norm: auto takes moments over the whole step, or more images a replica "
            "(batch.per_replica_batch, train.recompute)"
        )
    return (
        "The averages of the statistics do not follow: wait for a lower rate, or lower the decay "
        "of batch_norm in the pipeline.config"
    )


def _both(row: dict[str, Any]) -> bool:
    modes = row.get("modes")
    names = ("inference_loss", "training_loss", "images", "moments_over")
    return (
        isinstance(row.get("step"), int)
        and isinstance(modes, dict)
        and all(isinstance(modes.get(name), int | float) for name in names)
    )
