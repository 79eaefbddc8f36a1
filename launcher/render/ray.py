"""A plan as a Ray job: exactly the request that `submit` sends, and the files it writes."""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import ConfigError
from launcher.render.supervised import (
    WATCHDOGS_MARGIN_SECONDS,
    WORKER,
    Role,
    SupervisedJob,
)
from launcher.storage import read_text

if TYPE_CHECKING:
    from launcher.planning import Plan

JOB_FILE = "ray.json"
DRIVER_MODULE = "launcher.backends.ray.driver"
EVALUATOR_JOB_MODULE = "launcher.backends.ray.evaluator_job"
OWN_CLUSTER = "a Ray of this machine, started for the run"

_STOP_MARGIN_SECONDS = 30
_UNITS = {
    "": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


@dataclass(frozen=True)
class Needs:
    """What one process takes of a cluster: logical resources of Ray, memory in bytes."""

    cpus: float = 0.0
    gpus: int = 0
    memory: int = 0
    resources: Mapping[str, float] | None = None

    @property
    def bundle(self) -> dict[str, float]:
        """As Ray names them, without what is 0."""
        named = {"CPU": self.cpus, "GPU": float(self.gpus), "memory": float(self.memory)}
        return {k: v for k, v in {**named, **(self.resources or {})}.items() if v}

    def __str__(self) -> str:
        return told(self.bundle)


def told(bundle: Mapping[str, float]) -> str:
    """`1 CPU, 4 GPU, 32 GB memory`."""
    parts = [f"{v / 1e9:,.3g} GB {k}" if k == "memory" else f"{v:g} {k}" for k, v in bundle.items()]
    return ", ".join(parts) or "nothing"


@dataclass(frozen=True, kw_only=True)
class RayJob(SupervisedJob):
    """`ray.json`: all that the driver knows of a run."""

    submission: str
    """The driver's submission id; those of evaluators are `<submission>-evaluator-<n>`."""
    address: str
    """The dashboard's URL; that of a Ray of the run's own is written when it has started."""
    own: bool
    """The cluster was started for this run, and is stopped with it."""
    sizes: tuple[int, ...]
    """Numbers of workers that a plan was made for, the most first; several: elastic."""
    worker_needs: Needs
    evaluator_needs: Needs
    placement: str
    cpu_threads: int | None
    """Of each worker; None: an equal share of its node's cores."""
    resize_seconds: float
    metadata: Mapping[str, str]
    runtime_env: Mapping[str, Any]

    @property
    def elastic(self) -> bool:
        return len(self.sizes) > 1

    @classmethod
    def read(cls, path: Path) -> "RayJob":
        """Raises ConfigError when the file is missing or of another version, StorageError when it
        cannot be read."""
        remedy = "submit the run again"
        try:
            data = json.loads(read_text(path) or "")
            return cls(
                roles=tuple(Role(**{**r, "argv": tuple(r["argv"])}) for r in data.pop("roles")),
                sizes=tuple(data.pop("sizes")),
                worker_needs=Needs(**data.pop("worker_needs")),
                evaluator_needs=Needs(**data.pop("evaluator_needs")),
                **data,
            )
        except (ValueError, KeyError, TypeError) as e:
            if not path.exists():
                raise ConfigError("no such file", place=str(path), remedy=remedy) from None
            raise ConfigError(f"not a Ray job ({e})", place=str(path), remedy=remedy) from None

    def to_json(self) -> Any:
        return json.loads(json.dumps(asdict(self)))


def job(
    plan: "Plan",
    sizes: tuple[int, ...],
    submission: str,
    address: str | None,
    gpus: int | None = None,
) -> RayJob:
    """`address` None: a Ray of the run's own. `gpus` are those of the cluster; None: not known."""
    spec, ray = plan.spec, plan.spec.backend.ray
    stop_seconds = RayJob.stop_seconds
    asked = spec.cluster.cpus_per_worker
    evaluator_gpus = spec.evaluate.gpus
    if evaluator_gpus is None:  # one that the workers leave, else the CPU
        spare = gpus is None or gpus > plan.workers * plan.gpus_per_worker
        evaluator_gpus = 1 if plan.gpus_per_worker and spare else 0
    return RayJob(
        name=plan.name,
        root=str(plan.root),
        workers=plan.workers,
        total_steps=plan.total_steps,
        max_restarts=plan.max_restarts,
        roles=tuple(Role(r.name, r.count, tuple(r.argv), dict(r.env)) for r in plan.roles),
        silence_seconds=plan.worker_config.stall_timeout_seconds + WATCHDOGS_MARGIN_SECONDS,
        submission=submission,
        address=address or "",
        own=address is None,
        sizes=sizes,
        worker_needs=Needs(
            cpus=asked or 1.0,
            gpus=plan.gpus_per_worker,
            memory=in_bytes(spec.cluster.memory_per_worker),
            resources=dict(ray.resources),
        ),
        evaluator_needs=Needs(
            cpus=ray.evaluator_cpus or spec.evaluate.cpus or 0.0,
            gpus=evaluator_gpus,
            memory=in_bytes(spec.evaluate.memory),
            resources=dict(ray.evaluator_resources),
        ),
        placement=ray.placement.upper(),
        cpu_threads=max(1, int(asked)) if asked else None,
        resize_seconds=ray.resize_seconds,
        metadata=metadata(plan),
        runtime_env={
            "env_vars": {
                # Ray's own stop, of its dashboard and `ray job stop`, leaves 3 s by default.
                "RAY_JOB_STOP_WAIT_TIME_S": str(int(stop_seconds) + _STOP_MARGIN_SECONDS),
                "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
                "RAY_CHDIR_TO_TRIAL_DIR": "0",
                "RAY_USAGE_STATS_ENABLED": "0",
                "TF_USE_LEGACY_KERAS": "1",  # Ray's TensorFlow modules import Keras
                "TF_CPP_MIN_LOG_LEVEL": "2",
                "PYTHONUNBUFFERED": "1",
            },
        },
    )


_UNUSED = {
    "image": "Ray's nodes run what is installed there",
    "image_pull_secrets": "no image is pulled: Ray's nodes run what is installed there",
    "secrets": "the processes see {names} when the nodes' own environment has them",
    "volumes": "mount the data and run_dir on all nodes, at the same paths",
    "node_selector": "choose nodes with backend.ray.resources",
    "tolerations": "choose nodes with backend.ray.resources",
    "queue": "Ray starts what there is room for",
    "priority_class": "Ray starts what there is room for",
    "service_account": "the processes are those of the account that Ray runs under",
}


def unused(plan: "Plan") -> list[str]:
    """Fields of the spec that are set and mean nothing to Ray, each with what holds instead."""
    cluster = plan.spec.cluster
    names = ", ".join(secret.env for secret in cluster.secrets)
    return [
        f"{plan.spec.place(f'cluster.{field}')} is for Kubernetes: {instead.format(names=names)}"
        for field, instead in _UNUSED.items()
        if getattr(cluster, field)
    ]


def metadata(plan: "Plan") -> dict[str, str]:
    """What the dashboard's Jobs page shows of a run."""
    target = plan.target_map
    return {
        "name": plan.name,
        "recipe": plan.recipe or str(plan.spec.pipeline_config),
        "global_batch": str(plan.global_batch),
        "learning_rate": f"{plan.learning_rate:g}",
        "accumulation_steps": str(plan.accumulation_steps),
        "target_map": "none" if target is None else f"{target:g}",
        "run_dir": str(plan.root),
    }


def ray(plan: "Plan", described: RayJob, plans: "Mapping[int, Plan]") -> dict[str, Any]:
    """The driver's job, the training group and the evaluator's job, and the files before them."""
    return {
        "backend": "ray",
        "name": plan.name,
        "root": str(plan.root),
        "address": described.address or OWN_CLUSTER,
        "job": request(described),
        "training": {
            "trainer": "ray.train.tensorflow.TensorflowTrainer",
            "num_workers": list(described.sizes) if described.elastic else described.sizes[0],
            "resources_per_worker": described.worker_needs.bundle,
            "placement_strategy": described.placement,
            "argv": worker_argv(described),
        },
        "evaluator": evaluator_request(described, 0),
        "files": files(plan, described, plans),
    }


def request(described: RayJob) -> dict[str, Any]:
    """Of the driver: what JobSubmissionClient.submit_job gets, besides this package (py_modules)
    in its runtime environment."""
    return {
        "entrypoint": shlex.join(
            ["python", "-m", DRIVER_MODULE, described.root, described.submission]
        ),
        "submission_id": described.submission,
        "runtime_env": described.runtime_env,
        "metadata": {**described.metadata, "role": "training"},
    }


def evaluator_request(described: RayJob, number: int, *argv: str) -> dict[str, Any]:
    """Of the evaluator, a job of its own; `argv` is added to its command.

    Whoever reaches the dashboard can read it: the values of cluster.env are in ray.json instead.
    """
    needs = described.evaluator_needs
    submission = f"{described.submission}-evaluator-{number}"
    entrypoint = ["python", "-m", EVALUATOR_JOB_MODULE, described.root, submission, *argv]
    asked = {
        "entrypoint_num_cpus": needs.cpus,
        "entrypoint_num_gpus": needs.gpus,
        "entrypoint_memory": needs.memory,
        "entrypoint_resources": dict(needs.resources or {}),
    }
    return {
        "entrypoint": shlex.join(entrypoint),
        "submission_id": submission,
        "runtime_env": {
            **described.runtime_env,
            "env_vars": {
                **described.runtime_env["env_vars"],
                # The evaluator has nothing to save when it is told to stop.
                "RAY_JOB_STOP_WAIT_TIME_S": "10",
            },
        },
        "metadata": {**described.metadata, "role": "evaluation"},
        **{k: v for k, v in asked.items() if v},
    }


def worker_argv(described: RayJob) -> list[str]:
    role = described.role(WORKER)
    return ["python", *(role.argv if role else ())]


def files(plan: "Plan", described: RayJob, plans: "Mapping[int, Plan]") -> dict[str, Any]:
    """Name below the run's folder to content: text, or a value that is written as JSON."""
    from launcher.spec import to_yaml

    found: dict[str, Any] = {
        "spec.yaml": to_yaml(plan.spec),
        "plan.json": plan.to_json(),
        "pipeline.config": plan.pipeline_text,
        JOB_FILE: described.to_json(),
    }
    for workers, made in plans.items() if described.elastic else ():
        found[f"{size_folder(workers)}/plan.json"] = made.to_json()
        found[f"{size_folder(workers)}/pipeline.config"] = made.pipeline_text
    return found


def size_folder(workers: int) -> str:
    """Of the plan for so many workers of an elastic run, below the run's folder."""
    return f"plans/workers-{workers}"


def in_bytes(quantity: str | None) -> int:
    """`32Gi` as a number; 0 for None."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity or "0")
    if found is None or found[2] not in _UNITS:
        raise ValueError(f"{quantity} is no amount of memory")
    return int(float(found[1]) * _UNITS[found[2]])
