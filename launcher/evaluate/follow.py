"""Which checkpoint is scored next. No TensorFlow: folder, ledger and rules only."""

import hashlib
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from launcher.contract import RunPaths, State
from launcher.errors import UnreadableCheckpointError
from launcher.evaluate.silence import silent
from launcher.storage import peek_json, read_jsonl, read_text, reading

STATE_FILE = "checkpoint"  # tf.train.CheckpointManager's, written after the files it lists
STALE_SECONDS = 3600.0
_ENTRY = re.compile(r'^all_model_checkpoint_paths: "(?:.*/)?ckpt-(\d+)"$', re.MULTILINE)


def prefix(folder: Path, step: int) -> Path:
    return folder / f"ckpt-{step}"


def exists(folder: Path, step: int) -> bool:
    return (folder / f"ckpt-{step}.index").is_file()


def listed_steps(folder: Path) -> list[int]:
    """The steps of the complete checkpoints, in order.

    From the state file and not from the files: a checkpoint that is being written is not in it.
    Raises StorageError: a folder that cannot be read is not one without checkpoints.
    """
    state = read_text(folder / STATE_FILE) or ""
    with reading(folder):
        return sorted({s for s in map(int, _ENTRY.findall(state)) if exists(folder, s)})


def digest(folder: Path, step: int) -> str:
    """SHA-256 over the data files of a checkpoint, in order of their names.

    Raises FileNotFoundError when the checkpoint is gone, UnreadableCheckpointError when the disk
    does not give it, or has its index alone: who deletes a checkpoint begins with that.
    """
    total = hashlib.sha256()
    try:
        files = sorted(folder.glob(f"ckpt-{step}.data-*"))
        if not files and exists(folder, step):
            raise unreadable(prefix(folder, step), "its data file is missing")
        if not files:
            raise FileNotFoundError(prefix(folder, step))
        for path in files:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    total.update(block)
    except FileNotFoundError:
        raise
    except OSError as e:
        raise unreadable(prefix(folder, step), e.strerror or str(e)) from e
    return total.hexdigest()


def unreadable(prefix: Path, why: str) -> UnreadableCheckpointError:
    return UnreadableCheckpointError(
        f"the checkpoint cannot be read ({why})",
        place=str(prefix),
        remedy="Delete it, and score another one with --step",
    )


def next_step(
    listed: Collection[int], scored: Collection[int], total_steps: int, every: str
) -> int | None:
    """The step to score now, None to wait (or, when `total_steps` is scored, to leave).

    every: "checkpoint" takes each in order, "newest" skips those that were overtaken, "last" waits
    for the one of `total_steps`, which no rule leaves out.
    """
    open_steps = {s for s in listed if s <= total_steps} - set(scored)
    if every == "last":
        return total_steps if total_steps in open_steps else None
    if every == "newest":
        newest = max(scored, default=-1)
        return max((s for s in open_steps if s > newest), default=None)
    return min(open_steps, default=None)


def newest_open(listed: Collection[int], scored: Collection[int]) -> int | None:
    """The newest checkpoint, unless it is scored: what is left to do for a run that ended."""
    newest = max(listed, default=None)
    return None if newest in scored else newest


def ended(paths: RunPaths, began: float) -> str | None:
    """How a run ended that writes no more checkpoints, else None.

    A supervisor says it in status.json, or that it goes on. On Kubernetes there is none: the pod of
    a worker that will not be started again says so, and a run that is submitted anew takes that
    word back. What is older than this evaluator (`began`, seconds since 1970) may be of the submit
    before, whose successor waits for its nodes: it counts after an hour. When nobody could say it
    (a container that was killed whole, a JobSet, nodes that went away), their silence does
    (silence.py).
    """
    status = peek_json(paths.status)
    state = status.get("state") if isinstance(status, dict) else None
    if state in set(State):
        return str(state) if State(state).ended else None
    given_up = peek_json(paths.given_up)
    if not isinstance(given_up, dict):
        return silent(paths, began) if status is None else None
    then = given_up.get("time")
    if isinstance(then, int | float) and began > then and time.time() - began < STALE_SECONDS:
        return None
    return f"FAILED (worker {given_up.get('worker')} left with {given_up.get('exit')} for good)"


class Ledger:
    """The steps that `eval.jsonl` holds scores of, and those that it says cannot be scored.

    A group that restarts from an older checkpoint trains some steps again and writes other weights
    under the same step. So a score counts only while it is of the checkpoint that is on disk, by
    its SHA-256, or of one that is gone.
    """

    def __init__(self, metrics: Path, folder: Path) -> None:
        self._metrics = metrics
        self._folder = folder
        self._digests: dict[tuple[int, int], str] = {}  # by step and time of the index file
        self._seen: tuple[int, int, int] | None = None
        self._rows: list[dict[str, Any]] = []

    def scored(self, listed: Collection[int]) -> set[int]:
        return self._steps(listed, failed=False)

    def failed(self, listed: Collection[int]) -> set[int]:
        """Those that were given up (attempts.py)."""
        return self._steps(listed, failed=True)

    def _steps(self, listed: Collection[int], failed: bool) -> set[int]:
        rows = [row for row in self._read() if ("error" in row) is failed]
        lines = {row["step"]: row.get("sha256") for row in rows if isinstance(row.get("step"), int)}
        return {
            step
            for step, sha256 in lines.items()
            if step not in listed or self._digest(step) in (sha256, "")
        }

    def _read(self) -> list[dict[str, Any]]:
        """The rows, parsed again only when the file changed: this is asked every second."""
        seen = _identity(self._metrics)  # before it is read: what comes meanwhile is another one
        if seen is None or seen != self._seen:
            self._rows = [
                {key: row[key] for key in ("step", "sha256", "error") if key in row}
                for row in read_jsonl(self._metrics)
            ]
            self._seen = seen
        return self._rows

    def _digest(self, step: int) -> str:
        """Of the checkpoint on disk, read again only when it changed; empty when it is gone, or
        cannot be read: nor could it be scored."""
        index = self._folder / f"ckpt-{step}.index"
        try:
            with reading(index):
                changed = index.stat().st_mtime_ns
            if (step, changed) not in self._digests:
                self._digests[step, changed] = digest(self._folder, step)
            return self._digests[step, changed]
        except (FileNotFoundError, UnreadableCheckpointError):
            return ""


def _identity(file: Path) -> tuple[int, int, int] | None:
    """None when it is not there, or does not say."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
