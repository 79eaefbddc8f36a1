"""The logs of a run, of several processes and attempts, as one stream of lines."""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from launcher.backends.base import log_attempts
from launcher.cli import streams
from launcher.errors import StorageError, UsageError
from launcher.storage import read_error, reading

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle

_POLL_SECONDS = 0.3


def show(
    handle: "JobHandle",
    who: str,
    follow: bool,
    attempt: int | None,
    grep: str | None,
    tail: int | None,
) -> None:
    """Print to stdout. Raises UsageError for a bad pattern, or a process or attempt without log."""
    wanted = _wanted(who)
    matches = _matcher(grep)
    streams.end_with_reader()
    with handle.backend.logs(handle.root, follow=follow):
        _print(handle, who, wanted, matches, follow, attempt, tail)
    if follow:
        now = handle.look(_say)
        typer.echo(f"{now.name}: {now.state} ({now.reason}) {now.message}".rstrip(), err=True)


def _print(
    handle: "JobHandle",
    who: str,
    wanted: re.Pattern[str],
    matches: Callable[[str], object],
    follow: bool,
    attempt: int | None,
    tail: int | None,
) -> None:
    tails: dict[Path, _Tail] = {}
    while True:
        # Before reading: what is written until then is read.
        ended = (handle.look(_say) if follow else handle.status()).state.ended
        last = ended or not follow
        for path in _files(handle, wanted, attempt, last):
            tails.setdefault(path, _Tail(path, tail))
        if not tails and last:
            raise _nothing(handle, who, attempt)
        named = len({path.stem for path in tails}) > 1
        numbered = len({path.parent for path in tails}) > 1
        for path, file in tails.items():
            prefix = f"{path.parent.name} " if numbered else ""
            prefix += path.stem if named else ""
            for line in file.lines(last):
                if matches(line):
                    typer.echo(f"{prefix.strip()}: {line}" if prefix else line)
        if last:
            return
        time.sleep(_POLL_SECONDS)


class _Tail:
    """The lines of a file that grows, each once it is whole."""

    def __init__(self, path: Path, newest: int | None) -> None:
        self._path = path
        self._position = 0
        self._rest = b""
        self._newest = newest

    def lines(self, last: bool) -> Iterator[str]:
        """New ones; with `last`, also one without a newline at its end."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = self._rest + file.read()
                self._position = file.tell()
        except FileNotFoundError:
            return
        except OSError as e:
            if last:
                raise read_error(e, self._path) from e
            return  # the next look is soon
        *whole, self._rest = data.split(b"\n")
        if last and self._rest:
            whole.append(self._rest)
            self._rest = b""
        if self._newest is not None:
            whole = list(deque(whole, self._newest))
            self._newest = None  # only of what was there at the start
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")


def _wanted(who: str) -> re.Pattern[str]:
    if who == "all":
        return re.compile(r".*")
    if who in ("worker", "workers"):
        return re.compile(r"worker-\d+")
    if re.fullmatch(r"worker-\d+|evaluator|supervisor", who):
        return re.compile(re.escape(who))
    raise UsageError(
        f'"{who}" is no process of a run',
        place="WHO",
        remedy="Give worker, worker-0, evaluator, supervisor or all",
    )


def _matcher(grep: str | None) -> Callable[[str], object]:
    if grep is None:
        return lambda line: True
    try:
        return re.compile(grep).search
    except re.error as e:
        raise UsageError(
            f'"{grep}" is no regular expression ({e})', place="--grep", remedy="Correct it"
        ) from None


def _files(
    handle: "JobHandle", wanted: re.Pattern[str], attempt: int | None, last: bool
) -> list[Path]:
    """By attempt, then workers by number, then the others. Unless it is the last look, none while
    the folder does not answer."""
    found = []
    try:
        for k in log_attempts(handle.paths) if attempt is None else [attempt]:
            folder = handle.paths.logs(k)
            with reading(folder):
                logs = [p for p in folder.glob("*.log") if wanted.fullmatch(p.stem)]
            found += sorted(logs, key=_order)
    except StorageError:
        if last:
            raise
        return []
    return found


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _order(path: Path) -> tuple[bool, int, str]:
    number = path.stem.removeprefix("worker-")
    return (not number.isdecimal(), int(number) if number.isdecimal() else 0, path.stem)


def _nothing(handle: "JobHandle", who: str, attempt: int | None) -> UsageError:
    has = sorted({p.stem for p in handle.paths.root.glob("logs/attempt-*/*.log")})
    attempts = log_attempts(handle.paths)
    what = f"no log of {who}" + (f" in attempt {attempt}" if attempt is not None else "")
    remedy = "There is none yet"
    if has:
        remedy = f"There are logs of {', '.join(has)}, attempts {', '.join(map(str, attempts))}"
    return UsageError(what, place=handle.name, remedy=remedy)
