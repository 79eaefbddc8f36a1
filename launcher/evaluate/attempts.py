"""Checkpoints that cannot be scored: tried again, then passed over with a word. No TensorFlow.

A try is written down before it is made, so that it counts even when it ends this process: an
evaluator that dies of one checkpoint is started again and would die of it for ever. An error that
is told (a full disk, val records that changed) is no try. The last checkpoint is never passed over:
without its score the run has not succeeded.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from launcher.contract import RunPaths
from launcher.errors import UnreadableCheckpointError
from launcher.evaluate import follow
from launcher.evaluate.process import say
from launcher.storage import append_jsonl, peek_json, reading, write_json

MOST_TRIES = 3
MOST_DEATHS = 2
RETRY_SECONDS = 2.0
"""Before the next try: a file system of many machines may show a new file with a delay."""

_DIED = "the evaluator died while it scored it"


class Attempts:
    """The tries of the checkpoint that is being scored, over all evaluators of a run."""

    def __init__(self, paths: RunPaths) -> None:
        self._paths = paths
        self._file = paths.root / "progress" / "evaluator-tries.json"

    def used_up(self, step: int) -> bool:
        return self._of(step) >= MOST_TRIES

    def begin(self, step: int) -> int:
        """The number of this try, from 1."""
        tries = self._of(step) + 1
        write_json(self._file, {"step": step, "file": identity(self._paths, step), "tries": tries})
        return tries

    def failed(self, step: int, why: str) -> None:
        """What the try that was begun last ended with."""
        write_json(self._file, self._read() | {"error": why})
        say(f"ckpt-{step} cannot be scored (try {self._of(step)} of {MOST_TRIES}): {why}")

    def end(self) -> None:
        """The checkpoint is scored or gone, or what went wrong is no fault of it."""
        with contextlib.suppress(OSError):  # the count is of this checkpoint alone
            self._file.unlink()

    def pass_over(self, step: int) -> None:
        """Report it as a row of eval.jsonl without scores, and go on with the next one."""
        why = str(self._read().get("error") or _DIED)
        row = {
            "step": step,
            "checkpoint": f"{self._paths.checkpoints.name}/ckpt-{step}",
            "sha256": _sha256(self._paths.checkpoints, step),
            "time": time.time(),
            "error": why,
        }
        append_jsonl(self._paths.eval_metrics, row)
        say(f"ckpt-{step} is passed over after {MOST_TRIES} tries: {why}")
        self.end()

    def _of(self, step: int) -> int:
        data = self._read()
        same = data.get("step") == step and data.get("file") == identity(self._paths, step)
        tries = data.get("tries")
        return tries if same and isinstance(tries, int) else 0

    def _read(self) -> dict[str, object]:
        data = peek_json(self._file)
        return data if isinstance(data, dict) else {}


class Comparison:
    """Whether the losses of both modes may be computed (both_modes.py): they must not cost a score.

    Written down before as the tries are. An evaluator that died in it scores that checkpoint
    without; one that died in it twice, with no comparison between, leaves it be from then on.
    """

    def __init__(self, paths: RunPaths) -> None:
        self._file = paths.root / "progress" / "evaluator-modes.json"

    def allowed(self, step: int) -> bool:
        died = self._died()
        if not died or (len(died) < MOST_DEATHS and step not in died):
            return True
        steps = " and ".join(map(str, died))
        say(f"training and inference are not compared: the evaluator died in it at step {steps}")
        return False

    @contextlib.contextmanager
    def begun(self, step: int) -> Iterator[None]:
        write_json(self._file, {"died_at": [*self._died(), step]})
        try:
            yield
        finally:  # who comes here is alive
            with contextlib.suppress(OSError):
                self._file.unlink()

    def _died(self) -> list[int]:
        data = peek_json(self._file)
        steps = data.get("died_at") if isinstance(data, dict) else None
        return [s for s in steps if isinstance(s, int)] if isinstance(steps, list) else []


def identity(paths: RunPaths, step: int) -> list[int]:
    """Of the files: a checkpoint that was trained again under the same step is another one."""
    index = paths.checkpoints / f"ckpt-{step}.index"
    try:
        with reading(index):
            found = index.stat()
    except FileNotFoundError:
        return []
    return [found.st_ino, found.st_mtime_ns]


def _sha256(folder: Path, step: int) -> str:
    try:
        return follow.digest(folder, step)
    except (FileNotFoundError, UnreadableCheckpointError):
        return ""
