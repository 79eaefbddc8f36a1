"""Finding: one thing that keeps a run from its number, with the figures and the remedy."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    ERROR = "error"
    """The run is wasted or misses its target by much: `submit` stops."""
    WARNING = "warning"
    """It costs something, or a person should look at it."""
    INFO = "info"
    """True and worth knowing; nothing to mend."""


@dataclass(frozen=True)
class Cost:
    """What a finding costs: `text` for people, `lost` to put findings in order.

    `lost` is the share of the final mAP that is at stake, 0 (nothing) to 1 (all of it), the middle
    of `text`'s range where that has one.
    """

    text: str
    lost: float = 0.0


@dataclass(frozen=True)
class Finding:
    """`evidence` is what is wrong with the figures, `remedy` what to write instead.

    `place` is a key of the spec, a line of a file or a record, as `d3.yaml:23: batch.global_batch`
    or `train.record-00002: record 9 at byte 123571`. `edits` are the remedy as `key=value` texts of
    `--set`, where it can be written into the spec.
    """

    name: str
    severity: Severity
    place: str
    evidence: str
    cost: Cost
    remedy: str
    edits: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "severity": str(self.severity),
            "place": self.place,
            "evidence": self.evidence,
            "cost": self.cost.text,
            "lost": self.cost.lost,
            "remedy": self.remedy,
            "edits": list(self.edits),
        }
