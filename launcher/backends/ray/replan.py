"""The plan of an elastic run's next group: that for its number of workers becomes the run's."""

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

from launcher.backends.processes import Log
from launcher.backends.ray.channel import Channel, newest_saved
from launcher.contract import RunPaths
from launcher.odapi import pipeline
from launcher.render import ray as render
from launcher.storage import append_jsonl, read_error, read_json, read_text, write_text

_PLANNED = (
    "workers",
    "replicas",
    "per_replica_batch",
    "accumulation_steps",
    "global_batch",
    "learning_rate",
)


def take(channel: Channel, submission: str, attempt: int, workers: int, log: Log) -> None:
    """Write the plan for so many workers into the run's folder, and down what it is. Raises
    StorageError."""
    paths = channel.paths
    made = channel.root / render.size_folder(workers)
    texts = {path: _read(made / path.name) for path in (paths.pipeline, paths.plan)}
    before, plan = read_json(paths.plan), json.loads(texts[paths.plan])
    for path, text in texts.items():
        write_text(path, text)
    row = {
        "time": time.time(),
        "attempt": attempt,
        "step": newest_saved(paths.checkpoints),
        "submission": submission,
        **{name: plan[name] for name in _PLANNED},
    }
    append_jsonl(channel.replans, row)
    if isinstance(before, dict) and before.get("workers") != workers:
        log(
            f"re-planned: {counted(workers)} x {plan['per_replica_batch']} images x "
            f"{plan['accumulation_steps']} accumulation steps, global batch "
            f"{plan['global_batch']} and learning rate {plan['learning_rate']:g} as before"
        )


def read_pipeline(paths: RunPaths) -> Any:
    """The run's. Raises StorageError."""
    return pipeline.parse(_read(paths.pipeline), str(paths.pipeline))


def counted(workers: int) -> str:
    return f"{workers} worker" if workers == 1 else f"{workers} workers"


def _read(path: Path) -> str:
    """A file that `submit` has written. Raises StorageError, also when it is not to be seen now."""
    text = read_text(path)
    if text is None:
        raise read_error(FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)), path)
    return text
