"""The object that starts the workers, whatever its kind: has it ended, and how. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from launcher.render.kubernetes import names as wire

Json = Mapping[str, Any]

API_VERSIONS = {
    "job": ("batch/v1", "Job"),
    "jobset": ("jobset.x-k8s.io/v1alpha2", "JobSet"),
    "tfjob": ("kubeflow.org/v1", "TFJob"),
    "rayjob": ("ray.io/v1", "RayJob"),
}


DEADLINE_EXCEEDED = "DeadlineExceeded"
"""Reason of a Job and of a RayJob that took longer than it may."""
STOPPED = "Stopped"
"""Of a RayJob whose Ray job was stopped with Ray's own means."""
_TFJOB_DEADLINE = "active longer than specified deadline"
"""In the message of a TFJob, whose reason is TFJobFailed whatever has happened."""


@dataclass(frozen=True)
class Group:
    """`succeeded` None: not ended. `reason` and `message` are Kubernetes' own; a RayJob's has the
    lines of a log in it."""

    succeeded: bool | None = None
    reason: str = ""
    message: str = ""
    suspended: bool = False
    starts: int = 0
    """How often all were started again."""
    restarts: int = 0
    """Of those, how many count."""
    restarting: bool = False
    ended: str = ""
    """When, as Kubernetes writes it."""


def kind_of(plan: Mapping[str, Any]) -> wire.Kind:
    kind = ((spec_of(plan).get("backend") or {}).get("kubernetes") or {}).get("kind")
    return next((known for known in wire.KINDS if known == kind), "job")


def spec_of(plan: Mapping[str, Any]) -> Mapping[str, Any]:
    spec = plan.get("spec")
    return spec if isinstance(spec, dict) else {}


def group(item: Json, children: Sequence[Json] = ()) -> Group:
    """Of a Job, a JobSet, a TFJob or a RayJob. `children`: the Jobs that a JobSet has made, which
    know why they failed; it says no more than that one has."""
    if item["kind"] == "RayJob":
        return _ray_job(item)
    found = _of_conditions(item)
    if found.succeeded is not False:
        return found
    if item["kind"] == "TFJob" and _TFJOB_DEADLINE in found.message:
        return replace(found, reason=DEADLINE_EXCEEDED)
    for child in map(_of_conditions, children):
        if child.succeeded is False:
            late = child.reason == DEADLINE_EXCEEDED
            return replace(
                found,
                reason=DEADLINE_EXCEEDED if late else found.reason,
                message="; ".join(filter(None, [found.message, child.message])),
            )
    return found


def between(item: Json, children: Sequence[Json]) -> list[str]:
    """Names of what stands between it and its pods: a JobSet's Jobs, a RayJob's RayCluster."""
    cluster = str((item.get("status") or {}).get("rayClusterName") or "")
    return [*(job["metadata"]["name"] for job in children), *filter(None, [cluster])]


def _of_conditions(item: Json) -> Group:
    status = item.get("status") or {}
    suspended = bool((item.get("spec") or {}).get("suspend"))
    if item["kind"] == "TFJob":
        suspended = bool(((item["spec"].get("runPolicy")) or {}).get("suspend"))
    found = Group(
        suspended=suspended,
        starts=int(status.get("restarts") or 0),
        restarts=int(status.get("restartsCountTowardsMax") or 0),
    )
    for condition in status.get("conditions") or []:
        if condition["status"] != "True":
            continue
        if condition["type"] in ("Complete", "Completed", "Succeeded"):
            return _ended(found, condition, True)
        if condition["type"] == "Failed":
            return _ended(found, condition, False)
        if condition["type"] == "Restarting":
            found = replace(found, restarting=True)
    return found


def owned(items: Sequence[Json], owner: Json) -> list[Json]:
    """Those that a controller has made for `owner`."""
    uid = owner["metadata"].get("uid")
    return [
        item
        for item in items
        if any(ref.get("uid") == uid for ref in item["metadata"].get("ownerReferences") or [])
    ]


def _ended(found: Group, condition: Json, succeeded: bool) -> Group:
    return replace(
        found,
        succeeded=succeeded,
        reason=str(condition.get("reason") or ""),
        message=" ".join(str(condition.get("message") or "").split()),
        restarting=False,
        ended=str(condition.get("lastTransitionTime") or ""),
    )


def _ray_job(item: Json) -> Group:
    """KubeRay has a status of the driver, and one of what it deploys for it."""
    status = item.get("status") or {}
    driver, deployed = status.get("jobStatus"), status.get("jobDeploymentStatus")
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    suspended = bool(item["spec"].get("suspend"))
    ended: bool | None = None
    if driver == "SUCCEEDED":
        ended = True
    elif driver == "STOPPED":
        ended, reason = False, STOPPED
    elif driver == "FAILED" or deployed == "Failed":
        ended = False
        reason = reason or f"{deployed} {driver}"
    at = str(status.get("endTime") or "")
    return Group(ended, reason, message, suspended, ended=at)
