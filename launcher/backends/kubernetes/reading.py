"""Everything that the cluster has of a run, in a number of calls that does not grow with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.groups import (
    API_VERSIONS,
    between,
    group,
    kind_of,
    owned,
)
from launcher.backends.kubernetes.members import Member, member
from launcher.backends.kubernetes.state import CANCELLED_NOTE, Seen
from launcher.contract import PLAN_FILES
from launcher.errors import UsageError
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import Names

Json = dict[str, Any]

_KUEUE = "kueue.x-k8s.io"
_OTHERS = (
    ("v1", "Service"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    *(pair for name, pair in API_VERSIONS.items() if name != "job"),
)
"""Kinds that a run may have beside its ConfigMap and its Jobs."""


@dataclass(frozen=True)
class Cluster:
    """A run's objects. `plan` is the ConfigMap's plan.json, empty where that is missing."""

    name: str
    config_map: Json | None
    workers: Json | None
    evaluator: Json | None
    children: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    """Jobs that a JobSet has made of the workers."""
    pods: tuple[Json, ...] = field(default=(), repr=False)
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def exists(self) -> bool:
        return any((self.config_map, self.workers, self.evaluator))

    @property
    def names(self) -> Names:
        return Names(self.name, kind_of(self.plan))

    @property
    def has_evaluator(self) -> bool:
        """A Job of its own; in a RayJob the driver starts it, and ends when it has scored."""
        return self.names.kind != "rayjob"

    @property
    def partial(self) -> bool:
        """What an interrupted submit or delete leaves: nothing trains, or nobody would score it.
        A run that has ended is whole without its evaluator's Job, which has done its part."""
        ended = self.workers is not None and group(self.workers).succeeded is not None
        scored = self.evaluator or ended or not self.has_evaluator
        whole = self.workers and self.config_map and scored
        return self.exists and not self.cancelled and not whole

    @property
    def cancelled(self) -> bool:
        notes = (self.config_map or {}).get("metadata", {}).get("annotations") or {}
        return CANCELLED_NOTE in notes

    @property
    def root(self) -> Path:
        """Of the run's folder, as its pods see it."""
        return Path(str(self.plan.get("root") or f"/{self.name}"))

    def members(self) -> tuple[Member, ...]:
        """Of the pods that the present objects own: not those of an earlier submit that still
        leave. Those of a cancelled run have lost their owner."""
        mine: list[Mapping[str, Any]] = list(self.pods)
        if self.names.kind == "job" and not self.cancelled:
            holders = [item for item in (self.workers, self.evaluator) if item]
            mine = [pod for holder in holders for pod in owned(self.pods, holder)]
        found = [member(pod) for pod in mine]
        if self.names.kind != "rayjob":
            return tuple(found)
        # Nodes of Ray, which tells no pod which worker it will run.
        nodes = sorted((m for m in found if m.role == wire.WORKER), key=lambda m: m.pod)
        others = [m for m in found if m.role != wire.WORKER]
        return (*(replace(m, index=i) for i, m in enumerate(nodes)), *others)

    def files(self) -> dict[str, str]:
        data = (self.config_map or {}).get("data") or {}
        return {name: data[name] for name in PLAN_FILES if name in data}


def read(api: Api, name: str) -> Cluster:
    """Two or three calls, and one of the pods."""
    config_map = api.get("v1", "ConfigMap", Names(name, "job").config_map)
    if config_map:
        config_map = {"apiVersion": "v1", "kind": "ConfigMap", **config_map}
    plan = _plan_of(config_map)
    jobs = {job["metadata"]["name"]: job for job in api.list("batch/v1", "Job", **_of(name))}
    names = Names(name, kind_of(plan))
    if names.kind == "job":
        workers = jobs.get(names.workers)
    else:
        version, kind = API_VERSIONS[names.kind]
        found = api.get(version, kind, names.workers)
        workers = {"apiVersion": version, "kind": kind, **found} if found else None
    pods = tuple(api.list("v1", "Pod", **_of(name)))
    children = tuple(owned([*jobs.values()], workers)) if workers else ()
    return Cluster(name, config_map, workers, jobs.get(names.evaluator), children, pods, plan)


def look(api: Api, found: Cluster) -> Seen:
    """What can be said of it; asks for events, and for Kueue's word, where it waits."""
    workers = group(found.workers, found.children) if found.workers else None
    members = found.members()
    ended = workers is not None and workers.succeeded is not None
    objects = _objects(found)
    events: list[Json] = []
    if found.workers and not found.cancelled and _waits(found, members, ended):
        for name in [*objects, *_first_waiting(members)]:
            selector = f"involvedObject.name={name},type!=Normal"
            events += api.list("v1", "Event", fieldSelector=selector)
    queue, workloads = "", None
    if found.workers and workers and workers.suspended and not ended:
        queue = str((found.workers["metadata"].get("labels") or {}).get(wire.QUEUE_LABEL) or "")
        if queue and (version := api.preferred(_KUEUE)):
            workloads = tuple(owned(api.list(version, "Workload"), found.workers))
    return Seen(
        count=int(found.plan.get("workers") or 1),
        queue=queue,
        has_evaluator=found.has_evaluator,
        cancelled=found.cancelled,
        workers=workers,
        evaluator=group(found.evaluator) if found.evaluator else None,
        members=members,
        events=tuple(events),
        workloads=workloads,
        objects=tuple(objects),
    )


def _objects(found: Cluster) -> list[str]:
    """Names of what makes pods, the workers' first."""
    mine = [*between(found.workers, found.children)] if found.workers else []
    top = [item["metadata"]["name"] for item in (found.workers, found.evaluator) if item]
    return [*top[:1], *mine, *top[1:]]


def _waits(found: Cluster, members: Sequence[Member], ended: bool) -> bool:
    """Whether something that should run does not: only then it is asked why."""
    if any(m.phase == "Pending" for m in members):
        return True
    at_work = [m for m in members if m.running or m.phase == "Succeeded"]
    missing = sum(m.role == wire.WORKER for m in at_work) < int(found.plan.get("workers") or 1)
    unscored = found.has_evaluator and not any(m.role == wire.EVALUATOR for m in members)
    return (missing and not ended) or unscored


def _first_waiting(members: Sequence[Member]) -> list[str]:
    """A pod of each role: the others of it wait for the same."""
    waiting = {m.role: m.pod for m in reversed(members) if m.phase == "Pending" and not m.leaving}
    return list(waiting.values())


def all_objects(api: Api, name: str) -> list[Json]:
    """Of every kind that a run can have, in the order in which they are removed."""
    starting = [(v, k) for v, k in API_VERSIONS.values()]
    others = [pair for pair in _OTHERS if pair not in starting]
    found: list[Json] = []
    for version, kind in [*starting, *others, ("v1", "ConfigMap")]:
        found += [item for item in api.list(version, kind, **_of(name)) if not _is_child(item)]
    return found


def pods_at_work(api: Api, name: str) -> list[Json]:
    """Of this run and of earlier ones of its name."""
    pods = api.list("v1", "Pod", **_of(name))
    return [pod for pod in pods if not member(pod).ended]


def run_names(api: Api) -> list[str]:
    """Of all runs of the namespace, whoever submitted them."""
    selector = f"{wire.NAME_LABEL}={wire.APP}"
    maps = api.list("v1", "ConfigMap", labelSelector=selector)
    found = {str(m["metadata"]["labels"].get(wire.INSTANCE_LABEL) or "") for m in maps}
    return sorted(found - {""})


def _is_child(item: Json) -> bool:
    """Made by a controller, which removes it: a Job of a JobSet, a Service of the operator."""
    return bool(item["metadata"].get("ownerReferences"))


def _of(name: str) -> dict[str, str]:
    labels = ",".join(f"{key}={value}" for key, value in wire.run_labels(name).items())
    return {"labelSelector": labels}


def _plan_of(config_map: Json | None) -> dict[str, Any]:
    """Raises UsageError for a ConfigMap of this name that is not ours."""
    if config_map is None:
        return {}
    meta = config_map["metadata"]
    try:
        plan = json.loads((config_map.get("data") or {})["plan.json"])
    except (KeyError, ValueError):
        plan = None
    if not isinstance(plan, dict) or (meta.get("labels") or {}).get(wire.NAME_LABEL) != wire.APP:
        raise UsageError(
            "exists and is not the plan of a run",
            place=f"configmap/{meta['name']} in {meta.get('namespace')}",
            remedy="Choose another name, or another namespace",
        )
    return plan
