"""A real run of a small SSD, two workers and the evaluator, that faults are injected into."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from launcher.backends import lock, orphans
from launcher.contract import RunPaths, State
from launcher.data import make_shapes
from launcher.odapi import pipeline
from launcher.records import RecordWriter, read_records
from launcher.storage import read_json, read_jsonl

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
SIDE = 64
"""Pixels: the 4 images of a worker's micro-batch take about 50 ms a step on one core."""
GLOBAL_BATCH = 8
SINGLE = "train.record-single"
"""The train file that has one record."""

T = TypeVar("T")


@dataclass
class SmallRun:
    """`folder` holds data, spec and runs. `launcher` is run as a user does, in `folder`."""

    folder: Path
    name: str = "small"
    patience: float = 120.0
    """Seconds that one command may take."""

    @property
    def paths(self) -> RunPaths:
        return RunPaths(self.folder / "runs" / self.name)

    @property
    def spec(self) -> Path:
        return self.folder / f"{self.name}.yaml"

    def launcher(
        self, *arguments: str, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "launcher", *arguments],
            cwd=self.folder,
            env={
                **os.environ,
                "XDG_STATE_HOME": str(self.folder / "state"),
                "TF_CPP_MIN_LOG_LEVEL": "2",
                **(env or {}),
            },
            capture_output=True,
            text=True,
            timeout=self.patience,
            check=False,
        )

    def submit(self, *options: str, env: dict[str, str] | None = None) -> None:
        done = self.launcher("submit", self.spec.name, "--detach", *options, env=env)
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        """Of status.json, which the supervisor writes: what it says and not what is true."""
        told = read_json(self.paths.status)
        return told if isinstance(told, dict) else {"state": None, "attempt": -1, "restarts": 0}

    def pids(self) -> dict[str, int]:
        """As the supervisor recorded them; the evaluator is missing while none runs."""
        pids = json.loads((self.paths.root / "processes.json").read_text())["pids"]
        return {str(label): int(pid) for label, pid in pids.items()}

    def pid(self, label: str) -> int:
        """Of `worker-0`, `worker-1` or `evaluator`."""
        return self.wait(lambda: self.pids().get(label, 0), label, 20)

    def wait_evaluator(self, other_than: int) -> None:
        """Until another evaluator runs than the one with this pid."""
        self.wait(lambda: self.pid("evaluator") != other_than, "another evaluator", 20)

    def supervisor(self) -> int:
        return int(self.status()["supervisor_pid"])

    def log(self, attempt: int, who: str) -> str:
        path = self.paths.logs(attempt) / f"{who}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def saved(self) -> list[int]:
        """Steps whose checkpoint is complete, in order."""
        state = self.paths.checkpoints / "checkpoint"
        text = state.read_text() if state.exists() else ""
        return sorted(
            int(line.split("ckpt-")[1].rstrip('"'))
            for line in text.splitlines()
            if line.startswith("all_model_checkpoint_paths")
        )

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 300.0) -> T:
        """The first true value of `condition`."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s\n{self.tell()}"
            time.sleep(0.05)
        return value

    def running(self) -> int:
        """The present attempt, once it has done three steps; the run is (re)submitted for it."""
        if not self.paths.root.exists():
            self.submit()
        elif not lock.is_held(self.paths.root):
            self.submit("--resume")
        self.wait(lambda: len(self.steps_of(self.status()["attempt"])) >= 3, "three steps")
        return int(self.status()["attempt"])

    def steps_of(self, attempt: int) -> list[int]:
        return [row["step"] for row in self.rows() if row["attempt"] == attempt]

    def wait_attempt(self, attempt: int, seconds: float = 90.0) -> dict[str, Any]:
        """Until the workers of this attempt are started; the status while it was RESTARTING."""
        seen: dict[str, Any] = {}

        def started() -> bool:
            told = self.status()
            if told["attempt"] == attempt and told["state"] == State.RESTARTING:
                seen.update(told)
            return bool(told["attempt"] >= attempt and told["state"] == State.RUNNING)

        self.wait(started, f"attempt {attempt}", seconds)
        return seen

    def gone(self, pid: int, seconds: float) -> None:
        """Until this process is no more."""
        self.wait(lambda: not _runs(pid), f"the end of process {pid}", seconds)

    def wait_end(self, seconds: float = 300.0) -> dict[str, Any]:
        self.wait(
            lambda: State(self.status()["state"]).ended and not lock.is_held(self.paths.root),
            "the end",
            seconds,
        )
        return self.status()

    def left(self) -> list[str]:
        """The command lines of all processes of this run that are there."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            if str(self.paths.root).encode() in line:
                found.append(line.replace(b"\0", b" ").decode(errors="replace"))
        return found

    def rows(self) -> list[dict[str, Any]]:
        return read_jsonl(self.paths.train_metrics)

    def tell(self) -> str:
        """What is known, for the message of a failed test."""
        parts = [json.dumps(self.status())]
        for log in sorted(self.paths.root.glob("logs/*/*.log")):
            text = log.read_text(errors="replace")
            parts.append(f"--- {log.relative_to(self.paths.root)}\n{text[-1500:]}")
        return "\n".join(parts)

    def end_all(self) -> None:
        """Nothing of the run is left, whatever became of it."""
        try:
            if lock.is_held(self.paths.root):
                os.kill(self.supervisor(), signal.SIGKILL)
                time.sleep(0.1)
        except (ProcessLookupError, KeyError, TypeError):
            pass
        orphans.reap(self.paths)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def make_run(
    folder: Path,
    *,
    steps: int,
    checkpoint_steps: int,
    stall_seconds: float = 25.0,
    max_restarts: int = 3,
    sections: str = "",
    val_images: int = 4,
) -> SmallRun:
    """The demo's model at 64 px on 64 images in four files and one in a fifth; two workers."""
    make_shapes(folder / "data", train_images=64, val_images=val_images, image_size=SIDE, seed=1)
    # One record for itself: in an epoch it is one worker's, so that a fault of it is of that one.
    first = next(read_records(folder / "data" / "train.record-00000-of-00004"))
    with RecordWriter(folder / "data" / SINGLE) as writer:
        writer.write(first.data)
    message = pipeline.read(DEMO)
    resizer = message.model.ssd.image_resizer.fixed_shape_resizer
    resizer.height = resizer.width = SIDE
    message.train_config.batch_size = GLOBAL_BATCH
    message.train_config.num_steps = steps
    rate = message.train_config.optimizer.momentum_optimizer.learning_rate
    cosine = rate.cosine_decay_learning_rate
    cosine.total_steps, cosine.warmup_steps = steps, steps // 4
    message.train_input_reader.shuffle_buffer_size = 8
    pipeline.write(folder / "small.config", message)
    run = SmallRun(folder)
    run.spec.write_text(
        f"""
name: {run.name}
pipeline_config: small.config
data:
  train: data/train.record-*
  val: data/val.record-*
  label_map: data/label_map.pbtxt
  dataset: custom
batch: {{global_batch: {GLOBAL_BATCH}, per_replica_batch: {GLOBAL_BATCH // 2}, lr_scaling: none}}
train: {{checkpoint_every: {{steps: {checkpoint_steps}}}}}
cluster: {{workers: 2}}
restart: {{stall_timeout_seconds: {stall_seconds:g}, max_restarts: {max_restarts}}}
run_dir: runs
{sections}
"""
    )
    return run


def blocked_by_a_fifo(run: SmallRun, record: Path) -> list[str]:
    """Put a FIFO in place of the record file until a worker waits in its open(); who does."""
    fifo, aside = (record.with_name(f"{kind}-{record.name}") for kind in ("fifo", "aside"))
    os.mkfifo(fifo)
    os.link(record, aside)
    fifo.replace(record)
    try:
        run.wait(lambda: who_waits_for_a_fifo(run), "a worker that opens the FIFO", 60)
    finally:
        aside.replace(record)
    return who_waits_for_a_fifo(run)


def who_waits_for_a_fifo(run: SmallRun) -> list[str]:
    return [who for who in ("worker-0", "worker-1") if waits_for_fifo(run.pid(who))]


def waits_for_fifo(pid: int) -> bool:
    """Whether a thread of the process is in the open() of a FIFO that has no writer."""
    for wchan in Path(f"/proc/{pid}/task").glob("*/wchan"):
        try:
            if wchan.read_text() == "wait_for_partner":
                return True
        except OSError:
            continue
    return False
