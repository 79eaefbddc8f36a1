"""`python -m launcher.runtime RUN_ROOT`: one worker, from the run directory to an exit code."""

import logging
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from launcher.contract import ENV_PARENT_PID, RunPaths, worker_index
from launcher.errors import LauncherError, OutOfMemoryError, PeerLostError, StorageError, WorkerExit
from launcher.odapi import compat, pipeline
from launcher.runtime.leaving import leave, say_plainly
from launcher.runtime.watchdog import VERDICT_SECONDS, Watchdog
from launcher.storage import answering, is_gone, leave_within, write_json
from launcher.worker_config import WorkerConfig

if TYPE_CHECKING:
    from launcher.runtime import loop


def main(root: Path) -> WorkerExit:
    paths = RunPaths(root)
    config = WorkerConfig.read(paths.plan)
    effective = pipeline.read(paths.pipeline)
    worker = worker_index(os.environ)
    parent = os.environ.get(ENV_PARENT_PID)
    watchdog = Watchdog(
        config.stall_timeout_seconds,
        on_exit=lambda code, stall: tell(paths, worker, code, stall.message, own=stall.own),
        parent=int(parent) if parent else None,
        workers=config.workers,
    )
    watchdog.start()
    compat.load()

    import tensorflow as tf

    quiet_libraries()
    from launcher.runtime import applied, devices, failures, loop

    watchdog.loaded()
    applied.check_pipeline(config, effective.train_config)
    threads = devices.cpu_threads()
    devices.limit_threads(threads)
    training: loop.Training | None = None
    try:
        strategy = devices.make_strategy(config)
        training = loop.Training(
            paths,
            config,
            effective,
            strategy,
            worker=worker,
            threads=threads,
            watchdog=watchdog,
        )
        return training.run()
    except tf.errors.OpError as e:
        explained = failures.explain(
            e,
            workers=config.workers,
            source=training.source if training else None,
            done=training.done if training else 0,
            stepped=_has_stepped(paths, training),
        )
        if explained:
            note = watchdog.clock_note() if isinstance(explained, PeerLostError) else ""
            raise (PeerLostError(f"{explained}{note}") if note else explained) from e
        raise
    except OSError as e:
        raise StorageError(
            f"{e.strerror or e}", place=str(e.filename or root), remedy="Check the disk"
        ) from e


def _has_stepped(paths: RunPaths, training: "loop.Training | None") -> bool:
    """Whether a step of the run has ended, of this attempt or of one whose checkpoint is there."""
    done = training is not None and training.done > 0
    return done or any(paths.checkpoints.glob("ckpt-*.index"))


def quiet_libraries() -> None:
    """Deprecation notices of the OD API's old calls are nothing that a user can act on."""
    warnings.filterwarnings("ignore", category=UserWarning, module="tf_keras")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def tell(paths: RunPaths, worker: int, code: int, message: str, own: bool = False) -> None:
    """Leave the reason where the supervisor reads it; a full disk must not hide the exit code.

    own: a stall whose fault is this worker's, where the exit code alone says "lost a peer".
    """
    if is_gone(paths.root):
        return  # the run was deleted: its name may be another run's
    said = {"exit": int(code), "message": message} | ({"own": True} if own else {})
    try:
        write_json(paths.failure("worker", worker), said)
    except StorageError as e:
        say_plainly(str(e))


def run() -> NoReturn:
    if len(sys.argv) != 2:
        print("usage: python -m launcher.runtime RUN_ROOT", file=sys.stderr)  # noqa: T201
        leave(WorkerExit.BAD_CONFIG)
    root = Path(sys.argv[1])
    code: int
    try:
        with answering(root):
            code = main(root)
    except LauncherError as e:
        leave_within(VERDICT_SECONDS, e.worker_exit)
        say_plainly(f"error: {e}")
        own = isinstance(e, OutOfMemoryError)
        tell(RunPaths(root), worker_index(os.environ), e.worker_exit, str(e), own=own)
        code = e.worker_exit
    except Exception:  # a bug of ours: the supervisor quotes the last line of the log
        leave_within(VERDICT_SECONDS, 1)
        say_plainly(traceback.format_exc().rstrip())
        code = 1
    leave(code)


if __name__ == "__main__":
    run()
