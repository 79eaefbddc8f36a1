"""Files in the run's folder by which driver, workers and commands talk. Standard library only.

The folder is what all nodes share (proof.py makes sure of that), so that a request reaches the run
from any machine, and what was said can be read later. Each file has one writer. All are there from
the start, because a network file system is slow to notice a new name, not a new content.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.storage import peek_json, read_json, write_json


@dataclass(frozen=True)
class Channel:
    root: Path

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.root)

    @property
    def control(self) -> Path:
        """`{"submission", "stops"}`: how often someone asked the driver to stop."""
        return self.root / "control.json"

    @property
    def head(self) -> Path:
        """`{"pid", "host", "address"}`, by the keeper of a Ray of the run's own."""
        return self.root / "ray" / "head.json"

    @property
    def head_log(self) -> Path:
        return self.root / "ray" / "head.log"

    @property
    def driver_log(self) -> Path:
        """What Ray had of a driver that left without a word, by the keeper of its Ray."""
        return self.root / "ray" / "driver.log"

    @property
    def evaluator(self) -> Path:
        """`{"submission"}` of the evaluator that was started last, by the driver."""
        return self.root / "ray" / "evaluator.json"

    @property
    def replans(self) -> Path:
        """One line each start of the group of an elastic run: how many workers, and the batch."""
        return self.root / "metrics" / "replans.jsonl"

    def attempt(self, attempt: int) -> Path:
        return self.root / "ray" / f"attempt-{attempt}"

    def state(self, attempt: int, worker: int) -> Path:
        """`{"pid", "node", "ip", "frozen", "code"}`, by the worker's agent."""
        return self.attempt(attempt) / f"worker-{worker}.json"

    def orders(self, attempt: int) -> Path:
        """`{"signals": {worker: [numbers]}, "leave"}`, by the driver."""
        return self.attempt(attempt) / "orders.json"

    def data(self, attempt: int) -> Path:
        """`{path: bytes}` of the files that all nodes must see, by the driver."""
        return self.attempt(attempt) / "data.json"

    def token(self, attempt: int, who: str) -> Path:
        return self.attempt(attempt) / f"token-{who}.json"


def reset_control(root: Path, submission: str) -> None:
    write_json(Channel(root).control, {"submission": submission, "stops": 0})


def ask_to_stop(root: Path, submission: str, times: int) -> None:
    """Once: save a checkpoint first; twice: at once."""
    write_json(Channel(root).control, {"submission": submission, "stops": times})


def stops(root: Path, submission: str) -> int | None:
    """None: the folder belongs to another submission by now, or is gone. A file that cannot be read
    just now is neither, and asks for nothing."""
    try:
        data = read_json(Channel(root).control)
    except StorageError:
        return 0
    if not isinstance(data, dict) or data.get("submission") != submission:
        return None
    return int(data["stops"])


def newest_saved(folder: Path) -> int:
    """The step of the newest checkpoint; 0 when there is none."""
    steps = (p.stem.removeprefix("ckpt-") for p in folder.glob("ckpt-*.index"))
    return max((int(s) for s in steps if s.isdecimal()), default=0)


def mapping(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty when there is none, or it cannot be read just now."""
    data = peek_json(path)
    return data if isinstance(data, dict) else {}
