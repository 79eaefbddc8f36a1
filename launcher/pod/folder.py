"""The run's folder on the shared volume: the plan's files are put there, attempts are counted."""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.contract import PLAN_FILES, RunPaths
from launcher.errors import ConfigError, StorageError
from launcher.storage import storage_error, write_text

_MAY_CHANGE = frozenset((
    "workers", "gpus_per_worker", "replicas", "per_replica_batch", "accumulation_steps",
    "recompute", "checkpoint_steps", "checkpoint_minutes", "keep_checkpoints",
    "stall_timeout_seconds", "max_bad_records", "evaluate_every", "train_images", "val_images",
    "sync_batch_norm",
))  # fmt: skip
"""Values of worker_config that a run may be continued with: what planning/changes.py calls safe,
the division among workers too, because the global batch stays."""


def mounted(folder: Path, *more: str) -> dict[str, str]:
    """The plan's files as they are mounted, and `more`. Raises ConfigError."""
    try:
        return {name: (folder / name).read_text() for name in (*PLAN_FILES, *more)}
    except OSError as e:
        raise ConfigError(
            f"cannot be read ({e.strerror})",
            place=str(e.filename),
            remedy="Apply the ConfigMap that `launcher render` prints, with all that follows it",
        ) from None


def publish(paths: RunPaths, files: Mapping[str, str]) -> bool:
    """Put the plan's files into the run's folder. False: they were there.

    Everyone may do it, in any order: the same bytes, each file at once. Raises ConfigError when
    the folder holds a run of another plan, StorageError when it cannot be written.
    """
    try:
        there = {name: _text(paths.root / name) for name in files}
    except OSError as e:
        raise storage_error(e, paths.root) from e
    if there == files:
        return False
    if None not in there.values():  # else another pod is writing them
        _refuse_another(paths, there, files)
    # plan.json last: where it is, the others are, and what is there is a whole run's.
    for name in sorted(files, key=lambda name: name == paths.plan.name):
        write_text(paths.root / name, files[name])
    return True


def _refuse_another(
    paths: RunPaths, there: Mapping[str, str | None], files: Mapping[str, str]
) -> None:
    before, after = _config(there["plan.json"] or ""), _config(files["plan.json"])
    differs = [
        f"{key} is {after.get(key)}, there {before.get(key)}"
        for key in sorted({*before, *after} - _MAY_CHANGE)
        if before.get(key) != after.get(key)
    ]
    if not differs and _model(there["pipeline.config"] or "") != _model(files["pipeline.config"]):
        differs = ["pipeline.config is another one"]
    if differs:
        raise ConfigError(
            f"holds a run of this name with another plan: {'; '.join(differs[:3])}",
            place=str(paths.root),
            remedy="Use another name, or remove this folder",
        )


def _config(plan: str) -> dict[str, Any]:
    try:
        found = json.loads(plan)["worker_config"]
    except (ValueError, KeyError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _model(pipeline: str) -> list[str]:
    """All lines but whether batch norm is synchronised, which follows from the division."""
    return [line for line in pipeline.splitlines() if "sync" not in line]


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def check_writable(paths: RunPaths, who: str) -> None:
    """Raises StorageError: not an hour later, when the first checkpoint is saved."""
    probe = paths.root / "progress" / f".{who}.probe"
    write_text(probe, "")
    with contextlib.suppress(OSError):
        probe.unlink()


def claim(paths: RunPaths, who: str) -> tuple[int, int]:
    """The number of this start, and its log, opened for appending.

    Every process counts its own: the restarts of a group that loses members one by one need not
    have the same number. The logs that are there say how many came before, in earlier submits of
    the run too. Raises StorageError.
    """
    attempt = 1 + max(_starts(paths, who), default=-1)
    while True:
        path = paths.logs(attempt) / f"{who}.log"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            return attempt, os.open(path, flags, 0o644)
        except FileExistsError:
            attempt += 1
        except OSError as e:
            raise storage_error(e, path) from e


def last_log(paths: RunPaths, who: str, before: int | None = None) -> Path | None:
    """Of its last start, or the last one before that of this number; None: there was none."""
    starts = [k for k in _starts(paths, who) if before is None or k < before]
    return paths.logs(max(starts)) / f"{who}.log" if starts else None


def _starts(paths: RunPaths, who: str) -> list[int]:
    found = []
    for log in (paths.root / "logs").glob(f"attempt-*/{who}.log"):
        number = log.parent.name.removeprefix("attempt-")
        if number.isdecimal():
            found.append(int(number))
    return found


def is_trained(paths: RunPaths, total_steps: int) -> bool:
    """Whether the checkpoint of the last step is there: then nobody is left to train with. A
    worker that fails while all leave is started again, and the others are not."""
    try:
        listed = (paths.checkpoints / "checkpoint").read_text(errors="replace")
    except OSError:
        return False
    last = f"ckpt-{total_steps}"
    return (
        f'/{last}"' in listed.replace('"ckpt', '"/ckpt')
        and (paths.checkpoints / f"{last}.index").is_file()
    )


def await_token(paths: RunPaths, token: str, seconds: float) -> None:
    """Until this pod sees what worker 0 has written. Raises StorageError: then their folders are
    not the same one, and this worker would train beside the run."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            if json.loads(paths.meeting.read_text())["token"] == token:
                return
        if time.monotonic() > deadline:
            raise StorageError(
                f"worker 0 wrote {paths.meeting.name} there, and after {seconds:.0f} s it is not "
                "here: the pods do not share this folder",
                place=str(paths.root),
                remedy="Use a volume that many nodes can mount (ReadWriteMany) for run_dir",
            )
        time.sleep(0.2)
