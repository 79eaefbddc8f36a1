"""Submit in the foreground: one live line, and a Ctrl-C that leaves nothing behind."""

import contextlib
import errno
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import typer

from launcher.cli.texts import health_lines, progress_line
from launcher.errors import CliExit, StorageError, UnreachableError
from launcher.storage import read_error

if TYPE_CHECKING:
    from rich.live import Live

    from launcher.backends.base import JobHandle, RunStatus
    from launcher.preflight.finding import Finding

_POLL_SECONDS = 0.25
_LINE_SECONDS = 10.0
"""Between two lines where there is no terminal."""
_HEALTH_SECONDS = 10.0
"""Between two looks at all metrics, which take 50 ms of a run of 5,000 rows."""


class Interrupted(Exception):  # noqa: N818 (an event, not an error)
    """Ctrl-C, a closed terminal, or SIGTERM."""


class Interrupts:
    """Turns the signals into Interrupted, one at a time, and only where a run can be cancelled."""

    _SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received = False
        self._armed = False
        self._pending = False
        self._counts: tuple[int, ...] = self._SIGNALS

    def __enter__(self) -> "Interrupts":
        self._before = {
            number: signal.signal(number, self._on_signal)
            for number in self._SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN  # nohup stays nohup
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def arm(self) -> None:
        """The next signal raises Interrupted, or one that came before; then it has to be armed
        again."""
        self._armed = True
        if self._pending:
            self._fire()

    def expect_second_ctrl_c(self) -> None:
        """A closed terminal sends more than one SIGHUP: only Ctrl-C asks for more haste."""
        self._counts = (signal.SIGINT,)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if number in self._counts:
            self._pending = True
            if self._armed:
                self._fire()

    def _fire(self) -> None:
        self._armed = self._pending = False
        raise Interrupted


class Health:
    """The findings about a run, looked for every ten seconds; each is told in full once."""

    def __init__(self, handle: "JobHandle") -> None:
        self._handle = handle
        self._looked = time.monotonic()
        self._found: list[Finding] = []
        self._told: set[str] = set()

    def newest(self) -> "list[Finding]":
        from launcher import health

        if time.monotonic() - self._looked >= _HEALTH_SECONDS:
            with contextlib.suppress(StorageError, OSError):  # it is looked at again soon
                self._found = health.of_run(self._handle.paths)
            self._looked = time.monotonic()
        return self._found

    def news(self) -> list[str]:
        new = [f for f in self._found if f.name not in self._told]
        self._told |= {f.name for f in new}
        return [f"{self._handle.name}: {line}" for f in new for line in health_lines(f)]


def run(start: Callable[[], "JobHandle"], show: bool) -> "RunStatus":
    """Start and follow a run to its end. An interrupt cancels it, waits until all its processes
    are gone, and exits with 130.

    Raises StorageError when its folder cannot be read any more, UnreachableError when its cluster
    does not answer any more; the run goes on then.
    """
    with Interrupts() as interrupts:
        handle = start()
        try:
            interrupts.arm()
            return _follow(handle, show)
        except Interrupted:
            pass
        except (StorageError, UnreachableError):
            _say(f"{handle.name} is left as it is: `launcher status {handle.name}`")
            raise
        except OSError as e:  # the line cannot be drawn on a terminal that was closed
            if not interrupts.received and e.errno != errno.EIO:
                raise
        _cancel(handle, interrupts)
        raise typer.Exit(int(CliExit.INTERRUPTED))


def _cancel(handle: "JobHandle", interrupts: Interrupts) -> None:
    """Returns when all processes are gone. A second Ctrl-C does not wait for checkpoints."""
    interrupts.expect_second_ctrl_c()
    _say(f"{handle.name}: stopping; the workers save a checkpoint first (Ctrl-C again: at once)")
    try:
        interrupts.arm()
        now = handle.cancel()
    except Interrupted:
        now = handle.cancel(timeout=0.0)
    _say(
        f"{handle.name}: {now.state} at step {now.step:,} of {now.total_steps:,}; "
        "`launcher submit SPEC --resume` continues it"
    )


def _follow(handle: "JobHandle", show: bool) -> "RunStatus":
    if not show:
        while not (now := _look(handle)).state.ended:
            time.sleep(_POLL_SECONDS)
        return now
    if sys.stderr.isatty():
        return _follow_live(handle)
    return _follow_lines(handle)


def _look(handle: "JobHandle") -> "RunStatus":
    """An OSError is of the run's folder here, and never of the terminal."""
    try:
        return handle.look(_say)
    except OSError as e:
        raise read_error(e, handle.root) from e


def _follow_live(handle: "JobHandle") -> "RunStatus":
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    health = Health(handle)

    def update(live: "Live", now: "RunStatus") -> None:
        line = progress_line(now, health.newest())
        live.update(Text(line, no_wrap=True, overflow="ellipsis"))
        for told in health.news():
            live.console.print(Text(told), soft_wrap=True)

    with Live(console=Console(stderr=True), refresh_per_second=4, transient=True) as live:
        seen = ""
        while not (now := _look(handle)).state.ended:
            update(live, now)
            if now.message and now.message != seen:
                live.console.print(Text(f"{now.name}: {now.message}"), soft_wrap=True)
            seen = now.message
            time.sleep(_POLL_SECONDS)
    return now


def _follow_lines(handle: "JobHandle") -> "RunStatus":
    shown, told, last = "", "", 0.0
    health = Health(handle)
    while not (now := _look(handle)).state.ended:
        about = f"{now.state} {now.attempt}"
        if now.message and now.message != told:
            _say(f"{now.name}: {now.message}")
            told = now.message
        if about != shown or time.monotonic() - last >= _LINE_SECONDS:
            _say(progress_line(now, health.newest()))
            shown, last = about, time.monotonic()
        for line in health.news():
            _say(line)
        time.sleep(_POLL_SECONDS)
    return now


def _say(text: str) -> None:
    """To stderr. A terminal that was closed must not keep the run from being cancelled."""
    with contextlib.suppress(OSError):
        typer.echo(text, err=True)
