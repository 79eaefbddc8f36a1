"""What the launcher and the processes it starts agree on. Standard library only.

The run directory, the names of environment variables, the states of a run, and the part of the
plan that a worker reads. A change here is a change for every backend and for every run on disk.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from launcher.errors import ConfigError

ENV_ATTEMPT = "LAUNCHER_ATTEMPT"  # 0, 1, 2, ...: which start of the group this is
ENV_CPU_THREADS = "LAUNCHER_CPU_THREADS"  # a process's share of the machine's cores; unset: all
ENV_PARENT_PID = "LAUNCHER_PARENT_PID"  # a local process leaves when this one is gone
ENV_TF_CONFIG = "TF_CONFIG"
# What a pod of Kubernetes is told instead, of which launcher.pod makes the three above:
ENV_PLAN_DIR = "LAUNCHER_PLAN_DIR"  # the mounted spec.yaml, plan.json and pipeline.config
ENV_HOSTS = "LAUNCHER_HOSTS"  # host:port of each worker, commas between; or one with {index}
ENV_INDEX = "LAUNCHER_INDEX"  # this worker's; unset: JOB_COMPLETION_INDEX, which a Job sets
ENV_NAMESPACE = "LAUNCHER_NAMESPACE"  # the pod's
ENV_FAILURES = "LAUNCHER_FAILURES"  # failures of this worker that its Job has counted so far
ENV_MAX_RESTARTS = "LAUNCHER_MAX_RESTARTS"  # restart.max_restarts
ENV_EXIT_OFFSET = "LAUNCHER_EXIT_OFFSET"  # added to exit codes that mean "start me again"
ENV_COMPLETION_INDEX = "JOB_COMPLETION_INDEX"

WORKER_MODULE = "launcher.runtime"  # python -m launcher.runtime RUN_ROOT
EVALUATOR_MODULE = "launcher.evaluate"  # python -m launcher.evaluate RUN_ROOT
POD_MODULE = "launcher.pod"  # python -m launcher.pod ROLE RUN_ROOT, in a container
DRIVER_ROLE = "driver"  # of launcher.pod: in a Ray cluster, the supervisor of the run
DRIVER_MODULE = "launcher.backends.ray.driver"  # python -m ... RUN_ROOT SUBMISSION
RAY_JOB_FILE = "ray.json"  # all that the driver knows of a run
RAY_CONTROL_FILE = "control.json"  # how often the driver was asked to stop
EXPORTER_MODULE = "launcher.evaluate.export"  # python -m launcher.evaluate.export RUN_ROOT
VIEWS_MODULE = "launcher.runtime.views"  # python -m launcher.runtime.views PIPELINE OUT
EXPORT_RECORD = "export.json"  # in an exported folder: run, step, what goes in and comes out


def pattern_matches(pattern: str, name: str) -> bool:
    """Whether a pattern of train.freeze means a variable, which is named after its part: anywhere
    in `backbone/Conv1/kernel`, or in `Conv1/kernel`, so that `^` is the beginning of either."""
    return bool(re.search(pattern, name) or re.search(pattern, name.partition("/")[2]))


COCO_NUMBERS = (
    "mAP", "AP50", "AP75", "APs", "APm", "APl",
    "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip
"""pycocotools' COCOeval.stats in its order: fractions of 1, -1.0 where nothing can be scored."""


class State(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    EVALUATING = "EVALUATING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def ended(self) -> bool:
        return self in (State.SUCCEEDED, State.FAILED, State.CANCELLED)


class Reason(StrEnum):
    """Why a run is in its state: a closed list."""

    SUBMITTED = "submitted"
    STARTED = "started"
    WAITING = "waiting"  # for resources of a cluster; the message names what is asked and there
    RESIZED = "resized"  # an elastic run goes on with another number of workers
    TRAINED = "trained"  # the last step is done, its checkpoint is being scored
    SCORED = "scored"  # the last checkpoint is scored
    BAD_CONFIG = "bad-config"
    BAD_DATA = "bad-data"
    DIVERGED = "diverged"
    STORAGE = "storage"
    PEER_LOST = "peer-lost"
    PREEMPTED = "preempted"
    CRASHED = "crashed"  # an exit code or a signal that is none of ours
    # What only a cluster does, with a word of its own for each:
    OOM_KILLED = "oom-killed"  # used more main memory than its limit
    EVICTED = "evicted"  # its node was short of memory, disk or processes
    DEADLINE_EXCEEDED = "deadline-exceeded"  # ran longer than it was given
    IMAGE_PULL = "image-not-pulled"
    UNSCHEDULABLE = "unschedulable"  # no node has what a worker asks for
    QUOTA = "quota"  # of the namespace
    QUEUED = "queued"  # a queue has not admitted it yet
    EVALUATION_FAILED = "evaluation-failed"
    SUPERVISOR_LOST = "supervisor-lost"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunPaths:
    """Where everything of a run lies, below `<run_dir>/<name>`."""

    root: Path

    @property
    def spec(self) -> Path:
        return self.root / "spec.yaml"

    @property
    def plan(self) -> Path:
        return self.root / "plan.json"

    @property
    def check(self) -> Path:
        """What the preflight found when the run was submitted (preflight.run.Report.to_json)."""
        return self.root / "check.json"

    @property
    def pipeline(self) -> Path:
        return self.root / "pipeline.config"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def damaged(self) -> Path:
        """Checkpoints that could not be read and were set aside for older ones."""
        return self.checkpoints / "damaged"

    @property
    def train_metrics(self) -> Path:
        return self.root / "metrics" / "train.jsonl"

    @property
    def records(self) -> Path:
        """How many train records the run began with: their order and its position depend on it."""
        return self.root / "records.json"

    def bad_records(self, worker: int) -> Path:
        """One line a record that this worker skipped: `{"place", "what", "attempt"}`."""
        return self.root / "metrics" / f"bad-records-{worker}.jsonl"

    @property
    def eval_metrics(self) -> Path:
        return self.root / "metrics" / "eval.jsonl"

    @property
    def provenance(self) -> Path:
        """One line a start of worker 0 or of the evaluator: `{"role", "attempt", "time",
        "versions", "machine", "data"}`, the fingerprint of the records that it reads."""
        return self.root / "metrics" / "provenance.jsonl"

    @property
    def events(self) -> Path:
        """One line a change of state: `{"time", "state", "reason", "message", "attempt",
        "restarts", "step"}`, by the supervisor."""
        return self.root / "metrics" / "events.jsonl"

    @property
    def examples(self) -> Path:
        """Val images of the checkpoint that was scored last, the best and the worst of them, with
        truth and detections (evaluate/examples.py)."""
        return self.report / "examples.json"

    @property
    def page(self) -> Path:
        return self.report / "index.html"

    @property
    def tensorboard(self) -> Path:
        return self.root / "tensorboard"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def progress(self, worker: int) -> Path:
        return self.root / "progress" / f"worker-{worker}.json"

    def failure(self, role: str, index: int = 0) -> Path:
        """Where a process says why it left: `{"exit", "message"}`, written before it exits."""
        return self.root / "progress" / f"{role}-{index}.failure.json"

    @property
    def evaluator_beat(self) -> Path:
        """`{"attempt", "pid"}` of the evaluator, whose main loop sets its time as it gets on."""
        return self.root / "progress" / "evaluator.json"

    @property
    def given_up(self) -> Path:
        """That the workers will not be started again, by a pod that knows: `{"worker", "exit",
        "message", "time"}`. Where a supervisor watches, status.json says it."""
        return self.root / "progress" / "given-up.json"

    @property
    def begun_again(self) -> Path:
        """`{"time"}` at which that was taken back last, because the run was submitted anew."""
        return self.given_up.with_name("begun-again.json")

    @property
    def meeting(self) -> Path:
        """What worker 0 of a group of pods wrote last, and the others must see:
        `{"token", "attempt", "time"}`."""
        return self.root / "progress" / "meeting.json"

    def exit(self, attempt: int, who: str) -> Path:
        """How a pod's process ended: `{"exit", "time"}`; `who` as worker-0, evaluator."""
        return self.logs(attempt) / f"{who}.exit.json"

    @property
    def variables(self) -> Path:
        """Those that can be trained: `[{"name", "shape", "parameters"}]`, by worker 0."""
        return self.root / "progress" / "variables.json"

    @property
    def fine_tune(self) -> Path:
        """What was restored from fine_tune_checkpoint, and what was not; none without one."""
        return self.root / "progress" / "fine_tune.json"

    def logs(self, attempt: int) -> Path:
        return self.root / "logs" / f"attempt-{attempt}"

    def worker_log(self, attempt: int, worker: int) -> Path:
        return self.logs(attempt) / f"worker-{worker}.log"

    def evaluator_log(self, attempt: int) -> Path:
        return self.logs(attempt) / "evaluator.log"

    def supervisor_log(self, attempt: int) -> Path:
        return self.logs(attempt) / "supervisor.log"

    def picture(self, step: int) -> Path:
        return self.report / f"val-step-{step}.png"


PLAN_FILES = ("spec.yaml", "plan.json", "pipeline.config")
"""What a submit writes into a run's folder, and a ConfigMap holds."""


def plan_digest(files: Mapping[str, str]) -> str:
    """SHA-256 over the PLAN_FILES by name, so that pods can tell that they have the same plan."""
    total = hashlib.sha256()
    for name in sorted(files):
        content = files[name].encode()
        total.update(f"{name} {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


def worker_hosts(text: str, workers: int) -> list[str]:
    """LAUNCHER_HOSTS as `host:port` of each worker. Raises ConfigError unless it names `workers`.

    One entry with `{index}` in it stands for all of them.
    """
    hosts = [host for host in text.split(",") if host]
    if len(hosts) == 1 and "{index}" in text:
        hosts = [hosts[0].replace("{index}", str(i)) for i in range(workers)]
    if len(hosts) != workers:
        raise ConfigError(f"names {len(hosts)} hosts, the plan has {workers}", place=ENV_HOSTS)
    return hosts


def tf_config(hosts: Sequence[str], index: int) -> str:
    """TF_CONFIG of worker `index`; `hosts` are `host:port`, worker 0 is chief.

    The evaluator is never in it, and runs without one.
    """
    if not 0 <= index < len(hosts):
        raise ValueError(f"worker {index} of {len(hosts)} hosts")
    return json.dumps(
        {"cluster": {"worker": list(hosts)}, "task": {"type": "worker", "index": index}},
        separators=(",", ":"),
    )


def worker_index(env: Mapping[str, str]) -> int:
    """This process's index from TF_CONFIG, 0 without one."""
    text = env.get(ENV_TF_CONFIG)
    try:
        return int(json.loads(text)["task"]["index"]) if text else 0
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"not a cluster description: {text}", place=ENV_TF_CONFIG) from None
