"""This process: its environment, its log line, and when it has to leave."""

import contextlib
import gc
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import MutableMapping
from pathlib import Path
from types import FrameType

from launcher.contract import ENV_ATTEMPT, ENV_CPU_THREADS, ENV_PARENT_PID, ENV_TF_CONFIG
from launcher.errors import ConfigError, WorkerExit
from launcher.storage import write_json

_LOOK_SECONDS = 1.0
_LEAVE_SECONDS = 1.0


class Stopped(SystemExit):
    """SIGTERM, or the supervisor is gone: leave now. Scores can be made again any time."""

    def __init__(self) -> None:
        super().__init__(int(WorkerExit.STOPPED))


def say(text: str) -> None:
    """To the log. A full disk below it must change neither what is done nor the exit code."""
    _log(f"{time.strftime('%H:%M:%S')} {text}")


def say_error(error: Exception) -> None:
    """What it ends with, as one line."""
    _log(f"error: {error}")


def say_bug() -> None:
    """The traceback of what is handled now."""
    _log(traceback.format_exc().rstrip("\n"))


def _log(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


class Environment:
    """What the evaluator takes from its environment; drops what it must not have.

    Raises ConfigError for a value that is no number.
    """

    def __init__(self, env: MutableMapping[str, str]) -> None:
        self.attempt = _number(env, ENV_ATTEMPT, least=0) or 0
        self.cpu_threads = _number(env, ENV_CPU_THREADS, least=1)
        self._parent = _number(env, ENV_PARENT_PID, least=1)
        self._beat: Path | None = None
        self._beaten = 0.0
        self._is_child = self._parent == os.getppid()
        # TensorFlow reads TF_CONFIG by itself, and the evaluator is never part of the cluster.
        if env.pop(ENV_TF_CONFIG, None):
            say(f"warning: {ENV_TF_CONFIG} is set and not used: the evaluator has no cluster")

    def check_parent(self) -> None:
        """Raises Stopped when the process of LAUNCHER_PARENT_PID is gone."""
        if self._parent is not None and not self._has_parent(self._parent):
            say(f"process {self._parent} that started this one is gone: leaving")
            raise Stopped

    def watch_parent(self) -> None:
        """From now on this process leaves within seconds when that one is gone, whatever its main
        thread does: it may build a model, or wait for a disk. A score is written as one line at its
        end, all else as whole files."""

        def watch() -> None:
            while self._parent is None or self._has_parent(self._parent):
                time.sleep(_LOOK_SECONDS)
            os.kill(os.getpid(), signal.SIGTERM)  # the main thread leaves, if it can
            time.sleep(_LEAVE_SECONDS)
            say(f"process {self._parent} that started this one is gone: leaving")
            os._exit(int(WorkerExit.STOPPED))

        if self._parent is not None:
            threading.Thread(target=watch, name="parent", daemon=True).start()

    def beat_in(self, file: Path) -> None:
        """From now on `get_on` sets the time of this file, which takes no room on a full disk.
        Raises StorageError."""
        write_json(file, {"attempt": self.attempt, "pid": os.getpid()})
        self._beat = file

    def get_on(self) -> None:
        """The main loop calls it as often as it can: its supervisor starts another evaluator when
        it does not. Raises Stopped as `check_parent` does."""
        self.check_parent()
        now = time.monotonic()
        if self._beat is not None and now - self._beaten >= _LOOK_SECONDS:
            self._beaten = now
            with contextlib.suppress(OSError):
                os.utime(self._beat)

    def _has_parent(self, pid: int) -> bool:
        # A child is given to another parent at once. A pid alone says less: that of a killed
        # process stays until it is waited for.
        if self._is_child:
            return os.getppid() == pid
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


def keep_objects() -> None:
    """What is there by now stays: TensorFlow's objects above all, and its graphs.

    Else the garbage collector goes through all of them again and again while detections are made,
    each of which is some new objects: a quarter of a checkpoint's time was that.
    """
    gc.collect()
    gc.freeze()


def leave_on_sigterm() -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)


def _number(env: MutableMapping[str, str], name: str, least: int) -> int | None:
    text = env.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < least:
        raise ConfigError(
            f'"{text}" is not a whole number of at least {least}',
            place=f"environment variable {name}",
            remedy="Correct it or leave it out",
        )
    return int(text)
