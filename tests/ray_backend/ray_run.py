"""A real run on a real Ray, small enough to be watched to its end."""

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.backends.ray.channel import Channel, mapping
from launcher.contract import State
from tests.end_to_end.small_run import SmallRun


@dataclass
class RayRun(SmallRun):
    """As SmallRun, on Ray. `address` of a cluster; None: each submit starts one of its own."""

    address: str | None = None

    def submit(self, *options: str, env: dict[str, str] | None = None) -> None:
        where = ["--address", self.address] if self.address else []
        super().submit("--backend", "ray", *where, *options, env=env)

    def told(self) -> dict[str, Any]:
        """What `launcher status --json` says: folder and cluster together."""
        import json

        done = self.launcher("status", self.name, "--json")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def pids(self) -> dict[str, int]:
        """Of the present attempt's workers and of the evaluator, those that there are."""
        channel, attempt = Channel(self.paths.root), int(self.status()["attempt"])
        found = {
            f"worker-{i}": pid
            for i in range(4)
            if (pid := mapping(channel.state(attempt, i)).get("pid"))
        }
        if evaluator := _process("-m", "launcher.evaluate", str(self.paths.root)):
            found["evaluator"] = evaluator
        return found

    def worker_pid(self, worker: int, attempt: int | None = None) -> int:
        attempt = int(self.status()["attempt"]) if attempt is None else attempt
        state = Channel(self.paths.root).state(attempt, worker)
        return int(self.wait(lambda: mapping(state).get("pid", 0), f"worker-{worker}", 120))

    def placed(self, worker: int, attempt: int) -> str:
        """The IP address of its node."""
        return str(mapping(Channel(self.paths.root).state(attempt, worker)).get("ip", ""))

    def replans(self) -> list[dict[str, Any]]:
        from launcher.storage import read_jsonl

        return read_jsonl(Channel(self.paths.root).replans)

    def wait_steps(self, steps: int, seconds: float = 300.0) -> None:
        self.wait(lambda: len(self.rows()) >= steps, f"{steps} steps", seconds)

    def running(self) -> int:
        """As SmallRun's; a submitted run has no lock until its driver has come."""
        if not self.paths.root.exists():
            self.submit()
        elif State(self.told()["state"]).ended:
            self.submit("--resume")
        self.wait(lambda: len(self.steps_of(self.status()["attempt"])) >= 3, "three steps", 800)
        return int(self.status()["attempt"])

    def wait_end(self, seconds: float = 300.0) -> dict[str, Any]:
        def over() -> bool:
            return State(self.status()["state"] or "PENDING").ended

        self.wait(over, "the end", seconds)
        return self.status()

    def end_all(self) -> None:
        """Nothing of the run is left, whatever became of it."""
        self.launcher("cancel", self.name)
        self.launcher("delete", self.name)


def _process(*arguments: str) -> int | None:
    """The pid of the Python process with these first arguments."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if tuple(line[1 : 1 + len(arguments)]) == arguments:
            return int(entry.parent.name)
    return None


def ray_folders(root: Path) -> list[Path]:
    """The `--temp-dir` of each Ray of the run in `root`, from the log of its keepers."""
    log = Channel(root).head_log
    text = log.read_text(errors="replace") if log.exists() else ""
    return [Path(found) for found in re.findall(r"--temp-dir (\S+)", text)]


def rays_left(root: Path, folders: Iterable[Path] = ()) -> list[str]:
    """The command lines of the keeper of the run in `root`, of all that its Ray has started, and
    of our processes for it; and the folders of Ray's files. `folders`: those of a run whose log is
    gone."""
    folders = {*ray_folders(root), *folders}
    names = [os.fsencode(str(path)) for path in (root, *folders)]
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes()
        except OSError:
            continue
        if any(name in line for name in names) and entry.parent.name != str(os.getpid()):
            found.append(line.replace(b"\0", b" ").decode(errors="replace"))
    return found + [str(path) for path in folders if path.exists()]


def python() -> str:
    """The folder of this Python, first on the PATH of a Ray that is started by hand."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
