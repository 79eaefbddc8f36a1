"""Child processes: started with a log, stopped in steps."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from launcher.contract import ENV_TF_CONFIG
from launcher.errors import ConfigError, LauncherError, StorageError
from launcher.render.supervised import Process
from launcher.storage import storage_error

LOOPBACK = "127.0.0.1"
POLL_SECONDS = 0.1
KILL_SECONDS = 10.0
"""After SIGKILL a process is gone at once, unless it hangs in the kernel on a dead disk."""

Log = Callable[[str], None]


class Member(Protocol):
    """A process that a supervisor watches: a child of its own, or one on another machine."""

    @property
    def process(self) -> Process: ...

    @property
    def code(self) -> int | None: ...

    @property
    def label(self) -> str: ...

    @property
    def identity(self) -> str:
        """For the log: which process it is."""

    @property
    def told(self) -> str:
        """Why it left, where no file of its own can say it; else empty."""

    @property
    def waiting(self) -> str | None:
        """What it waits for before it runs; empty: it runs; None: that is not known yet."""

    @property
    def frozen(self) -> bool: ...

    def poll(self) -> int | None: ...

    def signal(self, number: signal.Signals) -> None: ...


class Child:
    """A running process. It leads a session of its own, so that what it starts ends with it."""

    told = ""
    waiting = ""

    def __init__(self, process: Process, nice: int = 0) -> None:
        """Raises StorageError when its log cannot be written, or the machine cannot start it now;
        ConfigError when it never will."""
        self.process = process
        self.code: int | None = None
        log = Path(process.log)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            output = log.open("ab")
        except OSError as e:
            raise storage_error(e, log) from e
        with output:
            try:
                self._popen = subprocess.Popen(
                    process.argv,
                    env=child_env(os.environ, process.env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as e:
                raise _not_started(e, process.argv[0]) from e
        self.pid = self._popen.pid
        if nice:
            _be_nice(self.pid, nice)

    @property
    def label(self) -> str:
        return label(self.process)

    @property
    def identity(self) -> str:
        return f"pid {self.pid}"

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        if self.code is None:
            self.code = self._popen.poll()
            if self.code is not None:
                self.signal(signal.SIGKILL)  # what it left behind in its session
        return self.code

    @property
    def frozen(self) -> bool:
        """Whether it was stopped by a signal (SIGSTOP) or is traced: it acts on no SIGTERM."""
        try:
            state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            return False
        return self.code is None and state in ("T", "t")

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


_NO_PROGRAM = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC})


def _not_started(error: OSError, program: str) -> LauncherError:
    """Only a program that is none stays one. A limit of processes (EAGAIN), memory (ENOMEM) and a
    network file system that has the Python (ESTALE, EIO) are otherwise at the next try."""
    if error.errno in _NO_PROGRAM:
        return ConfigError(
            f"cannot be started ({error.strerror})",
            place=program,
            remedy="Submit the run again with a Python that exists",
        )
    return StorageError(
        f"cannot be started now ({error.strerror or error})",
        place=program,
        remedy="See whether this machine has memory, processes (`ulimit -u`, the container's pids "
        "limit) and open files left, and whether the disk of this program answers",
    )


def _be_nice(pid: int, nice: int) -> None:
    """Of a process that leads a session of its own, as far as the system lets us.

    Where the kernel groups tasks by session (sched(7), "The autogroup feature"), a nice value
    counts within the session only: against other sessions it is the group's that does.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))


def label(process: Process) -> str:
    """`worker-0`, `evaluator`: as its log file is called."""
    return process.role if process.role == "evaluator" else f"{process.role}-{process.index}"


def child_env(inherited: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """The shell's environment without what only a launcher sets, and `added`."""
    kept = {
        k: v for k, v in inherited.items() if k != ENV_TF_CONFIG and not k.startswith("LAUNCHER_")
    }
    return {**kept, **added}


def free_hosts(count: int) -> list[str]:
    """`127.0.0.1:port` of ports that nobody listens on now; all different."""
    sockets = []
    try:
        for _ in range(count):
            sock = socket.socket()
            sockets.append(sock)
            sock.bind((LOOPBACK, 0))
        return [f"{LOOPBACK}:{sock.getsockname()[1]}" for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def stop(
    children: Sequence[Member],
    seconds: float,
    log: Log,
    hurry: Callable[[], bool] = lambda: False,
) -> None:
    """SIGTERM, wait, SIGKILL; `hurry` ends the waiting. Returns when all are gone.

    SIGCONT comes with SIGTERM: a process that was stopped acts on nothing else.
    """
    running = [c for c in children if c.poll() is None]
    for child in running:
        log(f"{child.label} ({child.identity}): SIGTERM")
        child.signal(signal.SIGTERM)
        child.signal(signal.SIGCONT)
    wait(running, seconds, hurry)
    for child in running:
        if child.poll() is None:
            log(f"{child.label} ({child.identity}): SIGKILL after {seconds:g} s")
            child.signal(signal.SIGKILL)
    wait(running, KILL_SECONDS)
    for child in running:
        log(f"{child.label} ({child.identity}): {exit_text(child.code)}")


def wait(
    children: Sequence[Member], seconds: float, hurry: Callable[[], bool] = lambda: False
) -> bool:
    """Until all have left, or time is up; True when all have."""
    deadline = time.monotonic() + seconds
    while [c for c in children if c.poll() is None]:
        if time.monotonic() > deadline or hurry():
            return False
        time.sleep(POLL_SECONDS)
    return True


def exit_text(code: int | None) -> str:
    """`left with exit code 65`, `was killed by SIGKILL`."""
    if code is None:
        return "does not end"
    if code >= 0:
        return f"left with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
