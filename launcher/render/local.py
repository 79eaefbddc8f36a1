"""A plan as processes of this machine: exactly what `submit` starts, and the files it writes."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.contract import (
    ENV_ATTEMPT,
    ENV_CPU_THREADS,
    ENV_PARENT_PID,
    ENV_TF_CONFIG,
    tf_config,
)
from launcher.errors import ConfigError
from launcher.render.supervised import (
    EVALUATOR,
    WATCHDOGS_MARGIN_SECONDS,
    WORKER,
    Process,
    Role,
    SupervisedJob,
)

if TYPE_CHECKING:
    from launcher.planning import Plan

JOB_FILE = "local.json"
SUPERVISOR_MODULE = "launcher.backends.local_supervisor"
__all__ = ["EVALUATOR", "WORKER", "LocalJob", "Machine", "Process", "Role", "SupervisedJob"]

SUPERVISOR_PID = "<pid of the supervisor>"
"""Stands for LAUNCHER_PARENT_PID where the processes are shown before they are started."""


@dataclass(frozen=True)
class Machine:
    """Where the processes run: Python executable, CPU cores, and the GPUs that may be used."""

    python: str
    cores: int
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LocalJob(SupervisedJob):
    """`local.json`, which the supervisor reads."""

    python: str
    cores: int
    worker_gpus: tuple[tuple[str, ...], ...]
    """Of each worker; all empty: train on the CPU."""
    evaluator_gpus: tuple[str, ...]
    hide_gpus: bool
    """The machine has GPUs, and a process without any of its own must not take them."""

    @classmethod
    def read(cls, path: Path) -> "LocalJob":
        """Raises ConfigError when the file is missing or of another version."""
        remedy = "submit the run again"
        try:
            data = json.loads(path.read_text())
            roles = tuple(Role(**{**r, "argv": tuple(r["argv"])}) for r in data.pop("roles"))
            worker_gpus = tuple(map(tuple, data.pop("worker_gpus")))
            evaluator_gpus = tuple(data.pop("evaluator_gpus"))
            return cls(roles=roles, worker_gpus=worker_gpus, evaluator_gpus=evaluator_gpus, **data)
        except FileNotFoundError:
            raise ConfigError("no such file", place=str(path), remedy=remedy) from None
        except (ValueError, KeyError, TypeError) as e:
            raise ConfigError(f"not a local job ({e})", place=str(path), remedy=remedy) from None


def job(plan: "Plan", machine: Machine) -> LocalJob:
    each = plan.gpus_per_worker
    used = plan.workers * each
    wanted = plan.spec.evaluate.gpus
    if wanted is None:  # one of its own where one is left, else the CPU: never a worker's
        wanted = 1 if each and len(machine.gpus) > used else 0
    # A dry run may be for a larger machine: then GPUs are shown by number.
    gpus = machine.gpus or tuple(map(str, range(used + wanted)))
    gpus += ("?",) * (used + wanted - len(gpus))
    return LocalJob(
        name=plan.name,
        root=str(plan.root),
        python=machine.python,
        cores=machine.cores,
        workers=plan.workers,
        worker_gpus=tuple(gpus[i * each : (i + 1) * each] for i in range(plan.workers)),
        evaluator_gpus=gpus[used : used + wanted],
        hide_gpus=bool(machine.gpus),
        total_steps=plan.total_steps,
        max_restarts=plan.max_restarts,
        silence_seconds=plan.worker_config.stall_timeout_seconds + WATCHDOGS_MARGIN_SECONDS,
        roles=tuple(Role(r.name, r.count, tuple(r.argv), dict(r.env)) for r in plan.roles),
    )


def local(plan: "Plan", hosts: Sequence[str], machine: Machine, attempt: int = 0) -> dict[str, Any]:
    """The processes of the first start and the files that are written before it.

    `hosts` are `127.0.0.1:port`, one a worker. The files are named, with their contents:
    `local.json` is all that the supervisor knows.
    """
    described = job(plan, machine)
    return {
        "backend": "local",
        "name": plan.name,
        "root": str(plan.root),
        "supervisor": supervisor_argv(described),
        "processes": [
            {**asdict(p), "argv": list(p.argv)}
            for p in processes(described, hosts, attempt, SUPERVISOR_PID)
        ],
        "files": files(plan, described),
    }


def files(plan: "Plan", described: LocalJob) -> dict[str, Any]:
    """Name below the run's folder to content: text, or a value that is written as JSON."""
    from launcher.spec import to_yaml

    return {
        "spec.yaml": to_yaml(plan.spec),
        "plan.json": plan.to_json(),
        "pipeline.config": plan.pipeline_text,
        JOB_FILE: json.loads(json.dumps(asdict(described))),
    }


def supervisor_argv(described: LocalJob) -> list[str]:
    return [described.python, "-m", SUPERVISOR_MODULE, described.root]


def processes(
    described: LocalJob, hosts: Sequence[str], attempt: int, parent: int | str
) -> list[Process]:
    """All processes of one attempt, workers first."""
    workers = [worker(described, hosts, i, attempt, parent) for i in range(described.workers)]
    last = evaluator(described, attempt, parent)
    return workers + ([last] if last else [])


def worker(
    described: LocalJob, hosts: Sequence[str], index: int, attempt: int, parent: int | str
) -> Process:
    role = described.role(WORKER)
    if role is None or len(hosts) != described.workers:
        raise ValueError(f"{described.workers} workers need as many hosts, not {len(hosts)}")
    env = _env(described, role, attempt, parent, described.worker_gpus[index])
    if described.workers > 1:
        env[ENV_TF_CONFIG] = tf_config(hosts, index)
    return Process(
        role=WORKER,
        index=index,
        argv=(described.python, *role.argv),
        env=env,
        log=str(described.paths.worker_log(attempt, index)),
    )


def evaluator(described: LocalJob, attempt: int, parent: int | str) -> Process | None:
    """Without TF_CONFIG: it is no part of the cluster."""
    role = described.role(EVALUATOR)
    if role is None:
        return None
    env = _env(described, role, attempt, parent, described.evaluator_gpus)
    return Process(
        role=EVALUATOR,
        index=0,
        argv=(described.python, *role.argv),
        env=env,
        log=str(described.paths.evaluator_log(attempt)),
    )


def _env(
    described: LocalJob, role: Role, attempt: int, parent: int | str, gpus: Sequence[str]
) -> dict[str, str]:
    env = {
        **role.env,
        ENV_ATTEMPT: str(attempt),
        ENV_CPU_THREADS: str(max(1, described.cores // described.workers)),
        ENV_PARENT_PID: str(parent),
        "PYTHONUNBUFFERED": "1",
    }
    if gpus or described.hide_gpus or any(described.worker_gpus):
        env["CUDA_VISIBLE_DEVICES"] = ",".join(gpus) or "-1"
    return env
