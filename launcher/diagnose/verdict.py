"""What a diagnosing run says: yes or no in one line, and what to look at next."""

from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from launcher.contract import RunPaths
from launcher.health.facts import learned_loss
from launcher.run_record import read_train_rows

_END = 10
"""Part of the rows that tell the loss at the end: a tenth."""
_START = 3
"""Rows that tell the loss of the untrained network."""


@dataclass(frozen=True)
class Verdict:
    passed: bool
    line: str
    next: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        rows = [("verdict", self.line), *(("next", text) for text in self.next)]
        return [f"  {label:<8} {text}" for label, text in rows]


def points(fraction: float) -> str:
    """A mAP as this program prints it."""
    return f"{fraction:.3f}"


def losses(paths: RunPaths) -> tuple[float, float] | None:
    """The loss without regularization: of the first steps, and of the last tenth (medians)."""
    values = [v for row in read_train_rows(paths) if (v := learned_loss(row)) is not None]
    if not values:
        return None
    return median(values[:_START]), median(values[-max(1, len(values) // _END) :])
