"""`python -m launcher.evaluate.export RUN_ROOT`: a checkpoint as a SavedModel, written at once.

`launcher export` starts it. What it makes is described in saved_model.py; here are the choice of
the checkpoint, the folder, and the exit code. Everything is written to a hidden folder beside the
wanted one and renamed, so that a folder of that name is always whole.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.contract import EXPORT_RECORD, RunPaths
from launcher.errors import ConfigError, LauncherError, UsageError, WorkerExit
from launcher.evaluate import follow
from launcher.evaluate.process import (
    Environment,
    Stopped,
    leave_on_sigterm,
    say,
    say_bug,
    say_error,
)
from launcher.evaluate.start import start_detector
from launcher.odapi import compat, pipeline
from launcher.storage import storage_error, write_json
from launcher.worker_config import WorkerConfig

BUG = 1  # exit code of a traceback


class DeletedError(ConfigError):
    """A checkpoint that newer ones have replaced while the model was built."""


def main(argv: Sequence[str] | None = None) -> int:
    args = _arguments(argv)
    leave_on_sigterm()
    try:
        folder = export(RunPaths(args.root), args.step, args.output, replace=args.replace)
        print(folder)  # noqa: T201 (for `launcher export`)
    except LauncherError as e:
        say_error(e)
        return int(e.worker_exit)
    except Stopped as e:
        say("stopped; nothing is left behind")
        return int(str(e.code))
    except Exception:
        say_bug()
        return BUG
    return int(WorkerExit.DONE)


def export(paths: RunPaths, step: int | None, output: Path | None, *, replace: bool) -> Path:
    """The folder that was written. `step` None: the newest checkpoint; `output` None:
    `export/step-N` in the run's folder. Raises LauncherErrors.
    """
    started = time.monotonic()
    chosen = choose_step(paths, step)
    while True:
        try:
            folder, size = _export(paths, chosen, output, replace=replace)
            break
        except DeletedError:
            newest = choose_step(paths, step)
            if newest == chosen:
                raise
            say(f"the checkpoint of step {chosen} was deleted meanwhile: that of {newest} is taken")
            chosen = newest
    say(f"{folder}: step {chosen}, {size / 1e6:,.1f} MB, {time.monotonic() - started:.0f} s")
    return folder


def _export(paths: RunPaths, step: int, output: Path | None, *, replace: bool) -> tuple[Path, int]:
    """The folder, and its size in bytes."""
    folder = output or paths.root / "export" / f"step-{step}"
    check_output(folder, replace=replace)
    config = WorkerConfig.read(paths.plan)
    compat.check_versions()  # before anything of the train extra is imported
    model = pipeline.read(paths.pipeline)
    environment = Environment(os.environ)
    with Hidden(folder) as hidden:
        try:
            told = _write(paths, config, model, environment, step, hidden)
        except OSError as e:
            raise storage_error(e, folder) from e
        write_json(hidden / EXPORT_RECORD, told)
        size = sum(p.stat().st_size for p in hidden.rglob("*") if p.is_file())
        put(hidden, folder)
    return folder, size


def choose_step(paths: RunPaths, step: int | None) -> int:
    """Raises ConfigError when the run has no such checkpoint."""
    listed = follow.listed_steps(paths.checkpoints)
    chosen = max(listed, default=None) if step is None else step
    if chosen is not None and follow.exists(paths.checkpoints, chosen):
        return chosen
    if not listed:
        raise ConfigError(
            "the run has no checkpoint yet",
            place=str(paths.checkpoints),
            remedy="Train it first: the last step always has one",
        )
    raise ConfigError(
        f"no checkpoint of step {step}: there are those of {', '.join(map(str, listed))}",
        place=str(paths.checkpoints),
        remedy="Give one of these with --step",
    )


def check_output(folder: Path, *, replace: bool) -> None:
    """Raises UsageError when something is in the way, and never lets go of what is no export."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / EXPORT_RECORD).is_file():
        raise UsageError(
            "exists and is not an exported model",
            place=str(folder),
            remedy="Choose another folder with -o",
        )
    if not replace:
        raise UsageError(
            "holds an exported model already",
            place=str(folder),
            remedy="Overwrite it with --replace, or choose another folder with -o",
        )


def _write(
    paths: RunPaths,
    config: WorkerConfig,
    model: Any,
    environment: Environment,
    step: int,
    folder: Path,
) -> dict[str, Any]:
    say("building the model")
    detector = start_detector(config, model, [], environment)
    environment.check_parent()
    from launcher.evaluate import saved_model
    from launcher.evaluate.detector import CheckpointGone

    try:
        sha256 = follow.digest(paths.checkpoints, step)
        detector.restore(follow.prefix(paths.checkpoints, step))
    except (FileNotFoundError, CheckpointGone):
        raise DeletedError(
            f"the checkpoint of step {step} was deleted while it was read",
            place=str(paths.checkpoints),
            remedy="Export a newer one",
        ) from None
    say(f"writing the model of step {step}")
    signature = saved_model.write(folder, detector, model)
    return {"run": config.name, "step": step, "sha256": sha256, **signature}


class Hidden:
    """A folder beside `folder`, which is gone afterwards unless it was renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        parent = self._folder.absolute().parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._path = Path(tempfile.mkdtemp(dir=parent, prefix=f".{self._folder.name}."))
            self._path.chmod(0o755)
        except OSError as e:
            raise storage_error(e, self._folder) from e
        return self._path

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)


def put(hidden: Path, folder: Path) -> None:
    """In place of what is there, which `check_output` has allowed."""
    old = hidden.with_name(f"{hidden.name}.old")
    try:
        if os.path.lexists(folder):
            folder.rename(old)
        hidden.rename(folder)
    except OSError as e:
        if os.path.lexists(old) and not os.path.lexists(folder):
            old.rename(folder)
        raise storage_error(e, folder) from e
    shutil.rmtree(old, ignore_errors=True)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"{Path(sys.executable).name} -m launcher.evaluate.export",
        description="Write a checkpoint of a run as a SavedModel.",
    )
    parser.add_argument("root", type=Path, metavar="RUN_ROOT", help="<run_dir>/<name>")
    parser.add_argument("--step", type=int, help="of the checkpoint; default: the newest")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR")
    parser.add_argument("--replace", action="store_true", help="overwrite an exported model")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
