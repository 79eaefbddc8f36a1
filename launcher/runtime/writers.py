"""What a worker leaves behind for people and programs: heartbeat, metrics, TensorBoard."""

import os
import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from launcher.contract import ENV_ATTEMPT, RunPaths
from launcher.errors import DataError, StorageError
from launcher.run_record import read_bad_records
from launcher.runtime.leaving import say_plainly
from launcher.runtime.step import StepResult
from launcher.storage import append_jsonl, is_passing, write_json
from launcher.worker_config import WorkerConfig

_HEARTBEAT_SECONDS = 1.0
_ROWS = 5000
"""About as many rows of metrics are kept of a run, however long it is."""


class Writers:
    """Every worker writes its heartbeat; worker 0 writes metrics and TensorBoard too."""

    def __init__(
        self,
        paths: RunPaths,
        config: WorkerConfig,
        worker: int,
        bad_records: Mapping[int, DataError] | None = None,
    ) -> None:
        """`bad_records`: those that this worker's input has skipped so far, in that order."""
        self._paths = paths
        self._bad_records = bad_records if bad_records is not None else {}
        self._bad_written = 0
        self._bad_of_all = 0
        self._config = config
        self._worker = worker
        self._attempt = int(os.environ.get(ENV_ATTEMPT, "0") or 0)
        self._every = max(1, config.total_steps // _ROWS)
        self._speed = _Speed(config.global_batch)
        self._waits = _Waits()
        self._last_heartbeat = 0.0
        self._board = (
            tf.summary.create_file_writer(str(paths.tensorboard / "train")) if worker == 0 else None
        )

    def step(self, result: StepResult) -> None:
        speed = self._speed.after_step()
        share, own = self._waits.after_step(result)
        last = result.step == self._config.total_steps
        beat = last or time.monotonic() - self._last_heartbeat >= _HEARTBEAT_SECONDS
        self._count_bad_records(beat)
        row: dict[str, Any] = {
            "step": result.step,
            "total_steps": self._config.total_steps,
            "time": time.time(),
            "attempt": self._attempt,
            "loss": result.loss,
            "learning_rate": result.learning_rate,
            "images_per_second": speed,
            "input_share": share,
            "own_seconds": own,
            "bad_records": self._bad_of_all,
        }
        if beat:
            self._last_heartbeat = time.monotonic()
            self._heartbeat(row | {"pid": os.getpid()})
        if self._board is not None and (last or result.step % self._every == 0):
            append_jsonl(
                self._paths.train_metrics,
                row
                | {
                    "global_batch": result.images,
                    "accumulation_steps": result.micro_batches // self._config.replicas,
                    "images_seen": result.step * result.images,
                    "gradient_norm": result.gradient_norm,
                    "losses": result.losses,
                },
            )
            _scalars(self._board, result, speed)

    def _heartbeat(self, row: Mapping[str, Any]) -> None:
        """The next one is due within a second, so one that a network file system loses costs
        nothing."""
        try:
            write_json(self._paths.progress(self._worker), row)
        except StorageError as e:
            if not is_passing(e):
                raise
            say_plainly(f"{e} (a heartbeat; going on)")

    def _count_bad_records(self, beat: bool) -> None:
        """Write down what is new here; count those of all workers when it is time for a beat."""
        for error in list(self._bad_records.values())[self._bad_written :]:
            (problem,) = error.problems
            append_jsonl(
                self._paths.bad_records(self._worker),
                {"place": problem.place, "what": problem.what, "attempt": self._attempt},
            )
            self._bad_written += 1
        if beat and self._config.max_bad_records:
            self._bad_of_all = len(read_bad_records(self._paths))

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def _scalars(board: Any, result: StepResult, speed: float | None) -> None:
    with board.as_default(step=result.step):
        for name, value in result.losses.items():
            tf.summary.scalar(name, value)
        tf.summary.scalar("learning_rate", result.learning_rate)
        tf.summary.scalar("gradient_norm", result.gradient_norm)
        if speed is not None:
            tf.summary.scalar("images_per_second", speed)


class _Speed:
    """Images per second, smoothed over about 20 steps; None until a second step has ended."""

    def __init__(self, images: int) -> None:
        self._images = images
        self._last: float | None = None
        self._seconds: float | None = None

    def after_step(self) -> float | None:
        now = time.monotonic()
        if self._last is not None:
            seconds = now - self._last
            before = self._seconds if self._seconds is not None else seconds
            self._seconds = before + (seconds - before) / 20
        self._last = now
        return self._images / self._seconds if self._seconds else None


class _Waits:
    """What part of a step this worker waits for its input, and how long it takes until it has its
    own gradients: smoothed as the speed is, None until a second step has ended."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._means: tuple[float, float, float] | None = None  # step, input, own; in seconds

    def after_step(self, result: StepResult) -> tuple[float | None, float | None]:
        now = time.monotonic()
        if self._last is not None:
            step = now - self._last
            # The graph reads the wall clock: one that is set in the middle of a step must not show.
            told = (result.input_seconds, result.own_seconds)
            waited, own = (min(max(0.0, seconds), step) for seconds in told)
            new = (step, waited, own)
            before = self._means or new
            step, waited, own = (b + (n - b) / 20 for b, n in zip(before, new, strict=True))
            self._means = (step, waited, own)
        self._last = now
        if self._means is None:
            return None, None
        step, waited, own = self._means
        return round(min(1.0, waited / step), 4) if step else None, round(own, 5)
