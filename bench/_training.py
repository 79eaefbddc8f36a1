"""What the benches of training share: the demo's run, ours and the OD API's, as real processes.

Both train `configs/demo.config` (SSD-MobileNetV2 x0.35, 128 px, global batch 32) on the same drawn
records from the same effective pipeline.config. Ours are the worker processes exactly as the local
backend starts them, without supervisor and evaluator; the peer's are bench/_peer.py, as its user
would start them: TensorFlow sees all cores in each.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import launcher
from launcher.backends.processes import child_env, free_hosts
from launcher.contract import ENV_TF_CONFIG, RunPaths, tf_config
from launcher.data import ensure_shapes
from launcher.planning import Plan
from launcher.render import local as render
from launcher.storage import read_jsonl

ROOT = Path(__file__).resolve().parents[1]
IMAGES = 32
"""Of one step, over all workers and micro-batches."""
_POLL_SECONDS = 0.05
_TICKS = os.sysconf("SC_CLK_TCK")


def say(text: str) -> None:
    print(text, flush=True)


def cores() -> int:
    return len(os.sched_getaffinity(0))


def demo_plan(folder: Path, name: str, overrides: Sequence[str] = ()) -> Plan:
    """The demo's plan at `folder/name`, its files written and its records drawn."""
    spec = launcher.load(
        ROOT / "configs" / "demo.yaml",
        [f"name={name}", f"run_dir={folder}", "train.checkpoint_every.steps=1000", *overrides],
    )
    plan = launcher.plan(spec)
    shapes = folder / "data" / "shapes-2000-200-128-0"
    ensure_shapes(shapes)
    shutil.rmtree(plan.root, ignore_errors=True)
    plan.write(plan.root)
    return plan


def split(workers: int, accumulation: int = 1) -> list[str]:
    """The overrides for 32 images a step over `workers` and micro-batches."""
    return [
        f"cluster.workers={workers}",
        f"batch.per_replica_batch={IMAGES // workers // accumulation}",
    ]


@dataclass(frozen=True)
class Command:
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True)
class Group:
    """The commands of one run; the first writes `events`, JSON lines with `step` and `time`."""

    commands: Sequence[Command]
    events: Path


def ours(plan: Plan) -> Group:
    """The workers of `plan` as `launcher submit` starts them."""
    job = render.job(plan, render.Machine(sys.executable, cores()))
    hosts = free_hosts(plan.workers)
    workers = [render.worker(job, hosts, i, 0, os.getpid()) for i in range(plan.workers)]
    return Group(
        [Command(w.argv, w.env, Path(w.log)) for w in workers], RunPaths(plan.root).train_metrics
    )


def peer(plan: Plan) -> Group:
    """model_main_tf2 on the plan's pipeline.config, with as many workers."""
    folder = plan.root / "peer"
    hosts = free_hosts(plan.workers)
    commands = []
    for i in range(plan.workers):
        argv = [
            sys.executable,
            str(ROOT / "bench" / "_peer.py"),
            str(folder / f"events-{i}.jsonl"),
            f"--pipeline_config_path={RunPaths(plan.root).pipeline}",
            f"--model_dir={folder / 'model'}",
            f"--num_workers={plan.workers}",
        ]
        env = {ENV_TF_CONFIG: tf_config(hosts, i)} if plan.workers > 1 else {}
        commands.append(Command(argv, env, folder / f"worker-{i}.log"))
    return Group(commands, folder / "events-0.jsonl")


class Running:
    """The processes of a group, from their start on."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.started = time.time()
        self.processes = [_start(command) for command in group.commands]

    def reach(self, step: int, timeout: float = 900.0) -> dict[int, float]:
        """Waits for the end of `step`. Returns seconds from the start to each step seen so far."""
        deadline = time.monotonic() + timeout
        while not (rows := read_jsonl(self._group.events)) or rows[-1]["step"] < step:
            if any(p.poll() is not None for p in self.processes) or time.monotonic() > deadline:
                logs = (c.log.read_text(errors="replace")[-2000:] for c in self._group.commands)
                raise SystemExit("\n".join(["a process ended before its time:", *logs]))
            time.sleep(_POLL_SECONDS)
        return {row["step"]: row["time"] - self.started for row in rows}

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds_of(p.pid) for p in self.processes)

    def peak_megabytes(self) -> float:
        """VmHWM of the largest process: the most memory that it ever had in use."""
        return max(_status(p.pid, "VmHWM") / 1024 for p in self.processes)

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.wait()


@contextmanager
def running(group: Group) -> Iterator[Running]:
    """Starts the group, and kills what is left of it at the end of the block, SIGTERM included."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run = Running(group)
    try:
        yield run
    finally:
        run.kill()


def _start(command: Command) -> "subprocess.Popen[bytes]":
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("wb") as output:
        return subprocess.Popen(
            command.argv,
            env=child_env(os.environ, command.env),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


@dataclass(frozen=True)
class Load:
    """What else the machine did between two moments, as a share of all its cores."""

    busy: float
    idle: float

    @classmethod
    def now(cls) -> "Load":
        numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        idle = numbers[3] + numbers[4]
        return cls((sum(numbers) - idle) / _TICKS, idle / _TICKS)

    def others_since(self, before: "Load", own_seconds: float) -> float:
        busy, idle = self.busy - before.busy, self.idle - before.idle
        return max(0.0, busy - own_seconds) / max(1e-9, busy + idle)


def cpu_seconds_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise ValueError(f"no {name} of process {pid}")


@dataclass(frozen=True)
class Steady:
    """What one run did after its first step, and after `skipped` steps."""

    first_step: float  # seconds from the start of the processes
    images_per_second: float
    step_milliseconds: float
    cpu_milliseconds: float  # of all processes together, a step: hardly depends on others
    others: float  # share of the machine that other programs took meanwhile
    peak_megabytes: float


def steady(group: Group, skipped: int, counted: int) -> Steady:
    """Speed from the end of step `skipped` to the end of step `skipped + counted`."""
    with running(group) as run:
        run.reach(skipped)
        load, own = Load.now(), run.cpu_seconds()
        times = run.reach(skipped + counted)
        used = run.cpu_seconds() - own
        others = Load.now().others_since(load, used)
        peak = run.peak_megabytes()
    # The peer's counter may be seen two steps further on: take the steps that were seen.
    first, last = (min(s for s in times if s >= n) for n in (skipped, skipped + counted))
    seconds = (times[last] - times[first]) / (last - first)
    return Steady(
        first_step=times[min(times)],
        images_per_second=IMAGES / seconds,
        step_milliseconds=1000 * seconds,
        cpu_milliseconds=1000 * used / (last - first),
        others=others,
        peak_megabytes=peak,
    )


def result(name: str, ratio: float, ours: float, peer: float, unit: str, **more: Any) -> str:
    return json.dumps(
        {"name": name, "ratio": round(ratio, 3), "ours": ours, "peer": peer, "unit": unit, **more}
    )
