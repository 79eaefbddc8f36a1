"""The scores of a run and whether they reach its target, from `metrics/eval.jsonl`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.contract import COCO_NUMBERS, RunPaths, State
from launcher.run_record import damaged_checkpoints, read_bad_records, read_score_rows
from launcher.storage import read_json

POINTS = 100
"""COCO points in an mAP of 1: targets are points, scores are fractions."""

_ROUNDING = 1e-9  # 0.449 * 100 is a little below 44.9


@dataclass(frozen=True)
class Results:
    name: str
    state: State
    total_steps: int
    target_map: float | None
    """In COCO points; None: the run has no target."""
    tolerance: float
    history: tuple[dict[str, Any], ...]
    """One row a scored checkpoint, by step. Fractions of 1, -1 where nothing can be scored."""
    not_scored: tuple[dict[str, Any], ...] = ()
    """`step` and `error` of the checkpoints that the evaluator gave up."""
    bad_records: tuple[str, ...] = ()
    """Places of the train records that were skipped."""
    damaged_checkpoints: tuple[str, ...] = ()
    """Names of those that could not be read and were set aside."""

    @property
    def final(self) -> dict[str, Any] | None:
        """The newest scored checkpoint: that of the last step once the run has SUCCEEDED."""
        return self.history[-1] if self.history else None

    @property
    def best(self) -> dict[str, Any] | None:
        return max(self.history, key=lambda row: float(row["mAP"]), default=None)

    @property
    def target_met(self) -> bool | None:
        """None without a target, or before the checkpoint of the last step is scored."""
        row = self.final
        if self.target_map is None or row is None or row["step"] < self.total_steps:
            return None
        return reaches(float(row["mAP"]), self.target_map, self.tolerance)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "total_steps": self.total_steps,
            "target_map": self.target_map,
            "tolerance": self.tolerance,
            "target_met": self.target_met,
            "final": self.final,
            "history": list(self.history),
            "bad_records": list(self.bad_records),
            "damaged_checkpoints": list(self.damaged_checkpoints),
            "not_scored": list(self.not_scored),
        }


def reaches(score: float, target_map: float, tolerance: float) -> bool:
    """Whether an mAP (a fraction) is at most `tolerance` points below the target (points)."""
    return score * POINTS >= target_map - tolerance - _ROUNDING


def read_results(paths: RunPaths, name: str, state: State) -> Results:
    lines = read_score_rows(paths)
    plan = read_json(paths.plan)
    plan = plan if isinstance(plan, dict) else {}
    config = plan.get("worker_config") or {}
    return Results(
        name=name,
        state=state,
        total_steps=int(config.get("total_steps") or 0),
        target_map=plan.get("target_map"),
        tolerance=float(plan.get("tolerance") or 0.0),
        history=tuple(_rows(lines, _pictures(paths))),
        not_scored=tuple(_failures(lines)),
        bad_records=tuple(read_bad_records(paths)),
        damaged_checkpoints=tuple(damaged_checkpoints(paths)),
    )


def _rows(lines: Sequence[dict[str, Any]], pictures: set[str]) -> list[dict[str, Any]]:
    """By step; a checkpoint scored twice counts as it was scored last. `picture` is None where it
    is gone."""
    by_step = {row["step"]: row for row in lines if row.get("mAP") is not None}
    for row in by_step.values():
        if "picture" in row and str(row["picture"]) not in pictures:
            row["picture"] = None
    return [_ordered(by_step[step]) for step in sorted(by_step)]


def _pictures(paths: RunPaths) -> set[str]:
    """Those that are there, named as in a row of eval.jsonl: of a long run some hundred stay."""
    try:
        return {str(path.relative_to(paths.root)) for path in paths.report.iterdir()}
    except OSError:
        return set()


def _failures(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By step; what is said last of a step counts."""
    last = {row["step"]: row for row in lines}
    return [
        {"step": step, "error": last[step]["error"]}
        for step in sorted(last)
        if "error" in last[step]
    ]


def _ordered(row: dict[str, Any]) -> dict[str, Any]:
    first = {k: row[k] for k in ("step", *COCO_NUMBERS) if k in row}
    return first | row


def picture(results: Results, paths: RunPaths) -> Path | None:
    """Val images with the boxes predicted by the newest scored checkpoint."""
    row = results.final
    name = row.get("picture") if row else None
    return paths.root / name if name else None
