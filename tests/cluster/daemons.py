"""Processes that outlive the command that starts them, and are ended by a later one."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_TERM_SECONDS = 20.0


class Daemons:
    """A folder of logs and the list of what runs: by pid and start time, so that no other process
    that was given the same pid is ever ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._list = folder / "processes.json"

    def start(self, name: str, argv: Sequence[str]) -> None:
        """In a session of its own; standard output and error go to logs/NAME.log."""
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            child = subprocess.Popen(
                argv,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        known = {**self._read(), name: [child.pid, _started(child.pid)]}
        self._list.write_text(json.dumps(known))

    def running(self) -> dict[str, int]:
        """Name to pid of those that still run."""
        return {n: pid for n, (pid, at) in self._read().items() if at and _started(pid) == at}

    def stop(self) -> list[str]:
        """SIGTERM in the opposite order of their start, SIGKILL after 20 s; the names."""
        ended = []
        for name, pid in reversed(self.running().items()):
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                if self._gone(name):
                    break
            ended.append(name)
        self._list.unlink(missing_ok=True)
        return ended

    def memory(self) -> dict[str, int]:
        """Resident bytes by name."""
        pages = {
            n: Path(f"/proc/{p}/statm").read_text().split()[1] for n, p in self.running().items()
        }
        return {name: int(count) * os.sysconf("SC_PAGE_SIZE") for name, count in pages.items()}

    def _gone(self, name: str) -> bool:
        deadline = time.monotonic() + _TERM_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError, KeyError):  # a child of this very process
                os.waitpid(self._read()[name][0], os.WNOHANG)
            if name not in self.running():
                return True
            time.sleep(0.05)
        return False

    def _read(self) -> dict[str, list[int]]:
        try:
            return dict(json.loads(self._list.read_text()))
        except (FileNotFoundError, ValueError):
            return {}


def _started(pid: int) -> int:
    """Clock ticks after the machine's start; 0: there is no such process, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])
