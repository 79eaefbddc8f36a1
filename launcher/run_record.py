"""What a run's files say of it: the parts of its record that count, whoever reads them.

The files are described in `contract.RunPaths`; the rules of reading them are here, once.
"""

import time
from collections.abc import Sequence
from typing import Any

from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.storage import read_jsonl, storage_error, write_json

TRAIN_NUMBERS = (
    "time",
    "loss",
    "learning_rate",
    "gradient_norm",
    "images_per_second",
    "input_share",
    "own_seconds",
)
_LARGEST_STEP = 2**53
"""A whole number that a float holds, on an axis."""


def begin_again(paths: RunPaths) -> None:
    """By whoever begins the run or continues it: that pods have given it up is no longer so, and
    what failed before that does not count any more. Raises StorageError."""
    try:
        if paths.given_up.exists():
            write_json(paths.begun_again, {"time": time.time()})
            paths.given_up.unlink(missing_ok=True)
    except OSError as e:
        raise storage_error(e, paths.given_up) from e


def read_train_rows(paths: RunPaths) -> list[dict[str, Any]]:
    """The rows of `train.jsonl` that count, by step, each step at most once.

    A restart trains the steps since its checkpoint again: what an earlier attempt wrote of them is
    of weights that are gone.
    """
    rows: list[dict[str, Any]] = []
    for row in read_all_train_rows(paths):
        while rows and rows[-1]["step"] >= row["step"]:
            rows.pop()
        rows.append(row)
    return rows


def read_all_train_rows(paths: RunPaths) -> list[dict[str, Any]]:
    """Those too that a restart made void, as they were written."""
    rows = filter(_has_step, read_jsonl(paths.train_metrics))
    return [_with_numbers(row, TRAIN_NUMBERS, "losses") for row in rows]


def read_score_rows(paths: RunPaths) -> list[dict[str, Any]]:
    """The rows of `eval.jsonl` that count: a score with a number for its mAP, or the `error` of one
    that failed, as they were written.

    When the newest checkpoints are damaged a restart goes on from one before, and what was scored
    of them is of weights that are gone.
    """
    rows = filter(_has_step, read_jsonl(paths.eval_metrics))
    sound = [_with_numbers(row, COCO_NUMBERS, "per_category") for row in rows]
    told = [row for row in sound if "error" in row or row.get("mAP") is not None]
    void = _trained_again(paths) if told else []
    return [row for row in told if not any(_is_before(row, *again) for again in void)]


def _trained_again(paths: RunPaths) -> list[tuple[int, float]]:
    """From which step on, and since when, for each restart that went back."""
    found, last = [], -1
    for row in read_all_train_rows(paths):
        if row["step"] <= last and row.get("time") is not None:
            found.append((row["step"], row["time"]))
        last = row["step"]
    return found


def _is_before(row: dict[str, Any], step: int, time: float) -> bool:
    scored = row.get("time")
    return row["step"] >= step and isinstance(scored, int | float) and scored < time


def _has_step(row: dict[str, Any]) -> bool:
    step = row.get("step")
    return isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= _LARGEST_STEP


def _with_numbers(row: dict[str, Any], fields: Sequence[str], parts: str) -> dict[str, Any]:
    """Without what should be a number and is none, in `fields` and in the table `parts`. The files
    are written by one process, but a disk or a person may have spoiled a line."""
    row = {k: v for k, v in row.items() if k not in fields or _is_number_or_none(v)}
    if parts in row:
        table = row[parts] if isinstance(row[parts], dict) else {}
        row[parts] = {k: v for k, v in table.items() if _is_number_or_none(v)}
    return row


def _is_number_or_none(value: Any) -> bool:
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) <= _LARGEST_STEP
    return value is None or isinstance(value, float)


def read_bad_records(paths: RunPaths) -> dict[str, str]:
    """What is wrong with each record that was skipped, by its place; of all workers, each once."""
    files = sorted((paths.root / "metrics").glob("bad-records-*.jsonl"))
    rows = [row for path in files for row in read_jsonl(path)]
    return {str(row["place"]): str(row.get("what")) for row in rows if "place" in row}


def damaged_checkpoints(paths: RunPaths) -> list[str]:
    """The names of those that were set aside, `ckpt-5`, by step."""
    found = {path.name.split(".")[0] for path in paths.damaged.glob("ckpt-*")}
    return sorted(found, key=lambda name: (len(name), name))
