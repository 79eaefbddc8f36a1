"""A run's status in words: the progress line, and what `status` and `list` print."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from launcher.contract import RunPaths, State
from launcher.report.table import duration, health_rows, losses, nearest_path, score
from launcher.run_record import damaged_checkpoints, read_bad_records
from launcher.storage import read_json

if TYPE_CHECKING:
    from launcher.backends.base import RunStatus
    from launcher.preflight.finding import Finding


def progress_line(now: "RunStatus", findings: Sequence["Finding"] = ()) -> str:
    """`demo  RUNNING  step 120/1,000 (12 %)  85 images/s  loss 0.81  rate 0.05  ETA 2m10s ...`

    Findings about its health come by their names; `launcher status` has the evidence.
    """
    told = now.progress
    parts = [now.name, str(now.state)]
    if now.attempt and now.state in (State.RUNNING, State.RESTARTING):
        parts.append(f"attempt {now.attempt}")
    parts.append(step_text(now))
    if now.state is State.RUNNING and told.loss is None:
        parts.append("starting")
    if now.state is State.RUNNING:
        if told.images_per_second is not None:
            parts.append(f"{told.images_per_second:,.1f} images/s")
        if told.loss is not None:
            parts.append(f"loss {told.loss:.4g}")
        if told.learning_rate is not None:
            parts.append(f"rate {told.learning_rate:.4g}")
        if told.eta_seconds is not None:
            parts.append(f"ETA {duration(told.eta_seconds)}")
    if told.last_map is not None:
        parts.append(f"mAP {score(told.last_map)} at step {told.last_map_step:,}")
    if findings:
        parts.append(f"! {', '.join(finding.name for finding in findings)}")
    return "  ".join(parts)


def step_text(now: "RunStatus") -> str:
    if not now.total_steps:
        return "step -"
    percent = 100 * now.step // now.total_steps
    return f"step {now.step:,}/{now.total_steps:,} ({percent} %)"


def status_lines(now: "RunStatus", findings: Sequence["Finding"] = ()) -> list[str]:
    told = now.progress
    rows = [("state", f"{now.state} ({now.reason})"), ("step", step_text(now))]
    if now.message:
        rows.append(("message", now.message))
    if now.attempt:
        rows.append(("attempt", f"{now.attempt} ({now.restarts} restarts used)"))
    if now.state is State.RUNNING and told.loss is not None:
        rows.append(("training", _training(now)))
    if weights := starting_weights(now):
        rows.append(("weights", _weights_text(weights)))
    if told.last_map is not None:
        rows.append(("mAP", f"{score(told.last_map)} at step {told.last_map_step:,}"))
    if now.submitted:
        end = now.updated if now.state.ended and now.updated else time.time()
        rows.append(("time", duration(end - now.submitted)))
    rows += losses(RunPaths(now.root))
    rows += health_rows(findings)
    rows.append(("folder", nearest_path(now.root)))
    return [now.name, *(f"  {label:<9} {value}" for label, value in rows)]


def health_lines(finding: "Finding") -> list[str]:
    """One finding, as the live line tells it once."""
    return [
        f"{finding.severity}: {finding.name}: {finding.evidence}",
        f"  cost: {finding.cost.text}; remedy: {finding.remedy}",
    ]


def starting_weights(now: "RunStatus") -> dict[str, Any] | None:
    """What was restored from fine_tune_checkpoint; None before that, and without one."""
    found = read_json(RunPaths(now.root).fine_tune)
    return found if isinstance(found, dict) else None


def losses_json(now: "RunStatus") -> dict[str, list[str]]:
    """What the run went on without: places of records, names of checkpoints."""
    paths = RunPaths(now.root)
    return {
        "bad_records": list(read_bad_records(paths)),
        "damaged_checkpoints": damaged_checkpoints(paths),
    }


def _weights_text(found: dict[str, Any]) -> str:
    return (
        f"{found.get('restored')} of {found.get('variables')} variables from "
        f"{found.get('checkpoint')} ({found.get('type')})"
    )


def list_cells(now: "RunStatus") -> list[str]:
    return [
        now.name,
        str(now.state),
        f"{now.step:,}/{now.total_steps:,}",
        score(now.progress.last_map),
        nearest_path(now.root),
    ]


def _training(now: "RunStatus") -> str:
    line = progress_line(now).split("  ")
    return "  ".join(
        part for part in line if part.startswith(("loss", "rate", "ETA")) or "/s" in part
    )
