"""A plan as Kubernetes objects: pure functions to plain dicts, exactly what is applied.

names            names, labels and mount points: everything that is on the wire
checks           what no cluster would take
pod              the pod of a role, as the restricted Pod Security Standard admits it
config_map       the plan's files
service          DNS names, and who may connect
job              an Indexed Job of the workers; the evaluator's Job
jobset, tfjob    the workers under these controllers
rayjob           a Ray cluster with the Ray backend's driver, which starts the evaluator too
output           objects as YAML, with the plan's arithmetic on top

`objects` is all of it; submit posts what it gives, and render prints it.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from launcher.contract import plan_digest
from launcher.render.kubernetes import checks, config_map, job, jobset, rayjob, service, tfjob
from launcher.render.kubernetes import names as wire
from launcher.render.kubernetes.names import KINDS, Kind, Names, names_of

if TYPE_CHECKING:
    from launcher.planning import Plan

__all__ = ["KINDS", "Kind", "Names", "names_of", "objects"]

Object = dict[str, Any]
_MODULES: dict[Kind, Any] = {"job": job, "jobset": jobset, "tfjob": tfjob, "rayjob": rayjob}


def objects(plan: "Plan", kind: Kind | None = None) -> list[Object]:
    """All objects of a run, in the order in which they are applied.

    kind: who starts the workers; that of the spec unless given. Raises SpecError with everything
    that a cluster would not take, or that would fail in it.
    """
    names = names_of(plan, kind)
    files = config_map.data(plan, names)
    names = replace(names, plan=plan_digest(files))
    checks.check(plan, names, files)
    found = [config_map.config_map(names, _metadata(plan), files)]
    if names.kind == "job":
        found.append(service.service(plan, names, _metadata(plan)))
    if plan.spec.backend.kubernetes.network_policy:
        found.append(service.network_policy(plan, names, _metadata(plan)))
    return [*found, *_jobs(plan, names)]


def _jobs(plan: "Plan", names: Names) -> list[Object]:
    workers, evaluator = _metadata(plan, wire.WORKER), _metadata(plan, wire.EVALUATOR)
    made = _MODULES[names.kind].workers(plan, names, workers)
    if names.kind == "rayjob":  # its driver starts the evaluator, in the same cluster
        return [made]
    return [made, job.evaluator(plan, names, evaluator)]


def _metadata(plan: "Plan", component: str | None = None) -> Object:
    """Of an object, its name apart. component: of one that starts pods, which Kueue may hold."""
    settings, queue = plan.spec.backend.kubernetes, plan.spec.cluster.queue
    labels = wire.labels(plan.name, component) | {wire.VERSION_LABEL: wire.version()}
    if component and queue:
        labels[wire.QUEUE_LABEL] = queue
        if settings.queue_priority:
            labels[wire.QUEUE_PRIORITY_LABEL] = settings.queue_priority
    namespace = {"namespace": settings.namespace} if settings.namespace else {}
    return {**namespace, "labels": labels}
