"""A worker's progress, told to Ray Train."""

import contextlib
import logging
import tempfile
import threading
from pathlib import Path
from typing import Any

import ray.train
from ray.train import Checkpoint
from ray.train.v2._internal.execution import context as ray_train_context

from launcher.backends.ray.channel import Channel, newest_saved
from launcher.backends.status import newest_score
from launcher.contract import RunPaths
from launcher.storage import peek_json, write_json

_SECONDS = 2.0
# Ray Train logs each report, by a logger that it calls after its file.
_NAMES = ("step", "loss", "learning_rate", "images_per_second")
_MAP = "mAP"


class Reporter(threading.Thread):
    """`ray.train.report` is a meeting of all workers, and one whose worker has left never comes.
    So it has a thread of its own, which nobody waits for, and what is saved or scored in the end is
    not in Ray Train's list: the driver tells it (progress.py)."""

    def __init__(self, paths: RunPaths, worker: int, attempt: int) -> None:
        super().__init__(name="reports", daemon=True)
        self._paths = paths
        self._worker = worker
        self._attempt = attempt
        self._over = threading.Event()
        self._pointed = newest_saved(paths.checkpoints)

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        logging.getLogger(ray_train_context.__file__).setLevel(logging.WARNING)
        while not self._over.wait(_SECONDS):
            metrics = self._metrics()
            with contextlib.suppress(Exception):  # the group is being ended, or reformed
                ray.train.report(
                    metrics,
                    checkpoint=self._checkpoint(),
                    delete_local_checkpoint_after_upload=True,
                )

    def _metrics(self) -> dict[str, Any]:
        beat = peek_json(self._paths.progress(self._worker))
        if not isinstance(beat, dict) or beat.get("attempt") != self._attempt:
            return {"step": 0}
        found = {name: beat[name] for name in _NAMES if beat.get(name) is not None}
        score = newest_score(self._paths.eval_metrics)
        return {**found, _MAP: score[_MAP]} if score else found

    def _checkpoint(self) -> Checkpoint | None:
        """A pointer to the newest checkpoint, for Ray Train's list: it has the metrics with it. The
        run's own folder keeps the checkpoints, and Ray no second copy of them."""
        step = newest_saved(self._paths.checkpoints)
        if self._worker or step == self._pointed:
            return None
        self._pointed = step
        # In the run's folder, with which it goes when nobody is left to remove it.
        parent = Channel(self._paths.root).attempt(self._attempt)
        folder = Path(tempfile.mkdtemp(prefix="pointer-", dir=parent))
        pointer = {"step": step, "checkpoint": str(self._paths.checkpoints / f"ckpt-{step}")}
        write_json(folder / "pointer.json", pointer)
        return Checkpoint.from_directory(str(folder))
