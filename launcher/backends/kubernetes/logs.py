"""Logs of pods as files below logs/, where every other command looks for them.

What is there stays when the pod is gone. A cursor beside each file says how far it was copied, so
that a broken stream, and the next command, go on where the last one ended. The end of a stream
means nothing: only the pod's own state says that nothing more will come.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from launcher.backends.kubernetes import reading
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.members import Member
from launcher.contract import RunPaths
from launcher.errors import LauncherError
from launcher.storage import read_json, storage_error, write_json

_AT_ONCE = 16
"""Logs that are copied at the same time."""
_TRIES = 5
_PAUSE_SECONDS = 1.0
_SCAN_SECONDS = 3.0
"""Between two looks for new pods, while logs are followed."""


@contextmanager
def copied(api: Api, name: str, root: Path, *, follow: bool, role: str = "") -> Iterator[None]:
    """Within it the files below `root`/logs are as new as the pods' logs; with `follow` they grow
    until it is left. Pods whose own files are there already are left alone. role: only theirs."""
    stop = threading.Event()
    if not follow:
        members = [m for m in reading.read(api, name).members() if role in ("", m.role)]
        members = [m for m in members if _wanted(m, root)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda m: Copy(api, m, root).once(), members))
        yield
        return
    scan = threading.Thread(target=_follow_all, args=(api, name, root, stop), daemon=True)
    scan.start()
    try:
        yield
    finally:
        stop.set()


def _follow_all(api: Api, name: str, root: Path, stop: threading.Event) -> None:
    """A thread for each pod: a log that is followed is a connection that stays open."""
    known: set[str] = set()
    while not stop.is_set():
        with suppress(LauncherError):  # the reader of the files asks for the state, and tells it
            for m in reading.read(api, name).members():
                if m.uid not in known and _wanted(m, root):
                    known.add(m.uid)
                    copy = Copy(Api(api.place), m, root)
                    threading.Thread(target=copy.follow, args=(stop,), daemon=True).start()
        stop.wait(_SCAN_SECONDS)


def _wanted(m: Member, root: Path) -> bool:
    """Not one that the pod itself writes, in a folder that is mounted here."""
    path = _path(m, root)
    return not path.exists() or _cursor_path(path).exists()


def _path(m: Member, root: Path) -> Path:
    """Of its attempt; the next one after those that other pods have: a resumed run's Jobs count
    from 0 again, and a TFJob's pods never count, and take the names of those before them."""
    attempt = m.attempt
    while True:
        path = RunPaths(root).logs(attempt) / f"{m.label}.log"
        if _copied_from(path) in (None, m.uid):
            return path
        attempt += 1


def _copied_from(path: Path) -> str | None:
    """The pod's uid; None: nothing was copied there."""
    data = read_json(_cursor_path(path))
    return str(data.get("pod")) if isinstance(data, dict) else None


def _cursor_path(path: Path) -> Path:
    return path.parent / f".{path.stem}.cursor"


@dataclass
class _Cursor:
    """The last line that was copied: its time, and how many lines of this very time there were."""

    pod: str
    """Its uid."""
    time: str = ""
    count: int = 0


class Copy:
    """One pod's log into its file."""

    def __init__(self, api: Api, m: Member, root: Path) -> None:
        self._api = api
        self._pod, self._uid = m.pod, m.uid
        self._path = _path(m, root)
        self._cursor = self._read_cursor()
        self._skip = 0

    def once(self) -> None:
        """What there is now: nothing of a pod that has not started, or is gone."""
        for _ in range(_TRIES):
            try:
                self._copy(follow=False)
                return
            except ConnectionError:
                continue
            except LauncherError:
                return

    def follow(self, stop: threading.Event) -> None:
        """Until the pod has ended, or `stop` is set."""
        while not stop.is_set():
            ended = self._has_ended()
            if ended is None:
                return
            try:
                self._copy(follow=not ended, stop=stop)
                if ended:
                    return
            except (ConnectionError, LauncherError):
                if ended:
                    return
            stop.wait(_PAUSE_SECONDS)

    def _has_ended(self) -> bool | None:
        """None: another pod has its name, whose log would come instead."""
        try:
            pod = self._api.get("v1", "Pod", self._pod)
        except LauncherError:
            return False
        if pod is not None and pod["metadata"]["uid"] != self._uid:
            return None
        return pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")

    def _copy(self, *, follow: bool, stop: threading.Event | None = None) -> None:
        """Appends whole lines. Raises ConnectionError when the stream breaks, LauncherError."""
        query = {"timestamps": "true"}
        if follow:
            query["follow"] = "true"
        if self._cursor.time:
            query["sinceTime"] = self._cursor.time
        self._skip = self._cursor.count  # lines of the last time that are there already
        rest = b""
        for chunk in self._api.log(self._pod, **query):
            *lines, rest = (rest + chunk).split(b"\n")
            self._append([text for line in lines if (text := self._new(line)) is not None])
            if stop is not None and stop.is_set():
                return
        if rest and not follow and (text := self._new(rest)) is not None:
            self._append([text])

    def _new(self, line: bytes) -> bytes | None:
        """The line without its time; None when it was copied before."""
        time, space, text = line.partition(b" ")
        at = time.decode(errors="replace")
        if not space and not at:
            return None
        # Without the Z, which would come after the digits of a finer time.
        if self._cursor.time and at.rstrip("Z") < self._cursor.time.rstrip("Z"):
            return None
        if at == self._cursor.time:
            if self._skip > 0:
                self._skip -= 1
                return None
            self._cursor.count += 1
        else:
            self._skip = 0
            self._cursor.time, self._cursor.count = at, 1
        return text

    def _append(self, lines: list[bytes]) -> None:
        if not lines:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in lines))
        except OSError as e:
            raise storage_error(e, self._path) from e
        at = {"pod": self._cursor.pod, "time": self._cursor.time, "count": self._cursor.count}
        write_json(_cursor_path(self._path), at)

    def _read_cursor(self) -> _Cursor:
        data = read_json(_cursor_path(self._path))
        if isinstance(data, dict) and data.get("pod") == self._uid:
            return _Cursor(self._uid, str(data.get("time") or ""), int(data.get("count") or 0))
        return _Cursor(self._uid)
