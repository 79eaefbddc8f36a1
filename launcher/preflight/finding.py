"""Finding: one thing that keeps a run from its number, with the figures and the remedy."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
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
    of `text`'s range where that has one. Where no figure is known, `text` says what is not seen or
    not trained instead, and `lost` is that share of the images.
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


_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, among equals by what they cost, then as they were found."""
    return sorted(findings, key=lambda f: (_RANK[f.severity], -f.cost.lost))


def stricter(findings: Iterable[Finding]) -> list[Finding]:
    """Warnings as errors (`--strict`)."""
    return [
        replace(f, severity=Severity.ERROR) if f.severity is Severity.WARNING else f
        for f in findings
    ]
