"""The worker or evaluator as a child of this process: its output twice, signals handed on.

Process 1 of a container ignores every signal that it has no handler for, and TensorFlow takes half
a minute before it has one. As a child it ends at once when it is told to in that time.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """SIGTERM or SIGINT while no child runs."""


class Signals:
    """SIGTERM and SIGINT of this process, from the moment that it is made."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._asked = False
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        if self._child is not None:
            self._child.send_signal(signal.SIGTERM)
        elif not self._starting:
            raise Stopped

    def run(self, argv: Sequence[str], env: Mapping[str, str], log: int) -> int:
        """Until it has ended: its exit code, 128 + n for signal n. Output goes to `log` too."""
        self._starting = True
        with subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child:
            self._child = child
            if self._asked:
                child.send_signal(signal.SIGTERM)
            if child.stdout is None:
                raise ValueError("the child has no output")
            tee = threading.Thread(target=_copy, args=(child.stdout.fileno(), log), daemon=True)
            tee.start()
            over = threading.Event()
            threading.Thread(target=_touch, args=(log, over), daemon=True).start()
            code = child.wait()
            over.set()
            tee.join(_LAST_WORDS_SECONDS)
        return code if code >= 0 else 128 - code


ALIVE_SECONDS = 60.0
_LAST_WORDS_SECONDS = 2.0
"""A grandchild may hold the pipe open after the child has left."""


def _touch(log: int, over: threading.Event) -> None:
    """Every minute: the run's folder shows whose container lives, though the process may have
    nothing to say (evaluate/silence.py). In a thread of its own, because a disk that does not
    answer must not keep this process from seeing its child's end, nor from hearing signals."""
    while not over.wait(ALIVE_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(log)


def _copy(source: int, log: int) -> None:
    """To the container's log and the run's. A full disk must not end the child."""
    while data := os.read(source, 65536):
        write_both(data, log)


def write_both(data: bytes, log: int | None) -> None:
    """To the container's log, which ends with the pod, and to the run's, which stays."""
    for target in (sys.stderr.fileno(), log):
        if target is not None:
            with contextlib.suppress(OSError):
                os.write(target, data)
