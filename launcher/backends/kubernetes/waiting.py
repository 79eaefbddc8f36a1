"""Why a run does not start: the pod or object, the reason, the event, and what to do. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.backends.kubernetes.members import Member
from launcher.contract import Reason

Json = Mapping[str, Any]

_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_STARTING = ("ContainerCreating", "PodInitializing")
_NO_POD = ("FailedCreate", "FailedCreatePod", "FailedToCreateHeadPod", "FailedToCreateWorkerPod")
"""Of a Job, the training-operator, KubeRay: the API server has refused a pod."""
_EVENTS = (
    *_NO_POD,
    "FailedMount", "FailedAttachVolume", "FailedScheduling", "BackOff",
    "JobCreationFailed", "HeadlessServiceCreationFailed", "FailedCreateService",
    "FailedToCreateRayCluster", "InvalidRayJobSpec", "InvalidRayClusterSpec",
)  # fmt: skip
"""Warnings that say why something does not start; the others tell of what has run."""
_MISSING = re.compile(r"Insufficient (?P<what>[\w./-]*\w)")
_CLAIM = re.compile(r'persistentvolumeclaim "(?P<name>[^"]+)" (?:not found|is being deleted)', re.I)
_UNBOUND = re.compile(r"unbound immediate persistentvolumeclaims", re.I)


@dataclass(frozen=True)
class Wait:
    """What holds a run up."""

    reason: Reason
    message: str


def wait_of(members: Sequence[Member], events: Sequence[Json], names: Sequence[str]) -> Wait | None:
    """The most telling cause; None: nothing is known to hold it up.

    `events` are warnings of the namespace, `names` the objects of the run whose events count.
    """
    waiting = [m for m in members if m.phase == "Pending" and not m.leaving]
    told = _newest(events, [*names, *(m.pod for m in waiting)])
    for m in waiting:
        if m.waiting and m.waiting[0] in _IMAGE:
            return Wait(Reason.IMAGE_PULL, _image(m))
    for m in waiting:
        if m.waiting and m.waiting[0] in _CONTAINER:
            reason, text = m.waiting
            return Wait(Reason.WAITING, f"{_who(m)}: {reason}: {text}. {_CONTAINER_REMEDY}")
    if refused := _refused(told):
        return refused
    for m in waiting:
        if m.unschedulable:
            return Wait(Reason.UNSCHEDULABLE, _unschedulable(m, waiting))
    for name, event in told.items():
        if event.get("reason") in _EVENTS:
            return Wait(Reason.WAITING, f"{_what(event, name)}: {_text(event)}")
    return None


def queue_wait(queue: str, workloads: Sequence[Json] | None) -> Wait:
    """Of a suspended run that Kueue has to admit. None: the kind Workload is not installed."""
    where = f'queue "{queue}"'
    if workloads is None:
        return Wait(
            Reason.QUEUED,
            f"waits for {where}, and Kueue is not installed. Install it, or leave out "
            "cluster.queue",
        )
    if not workloads:
        return Wait(
            Reason.QUEUED,
            f"waits for {where}, but Kueue has made no Workload for it: is it running, and set up "
            f"for this kind? `kubectl get localqueue {queue}` shows the queue",
        )
    status = workloads[0].get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] in ("QuotaReserved", "Admitted") and condition["status"] != "True":
            text = " ".join(str(condition.get("message") or "").split())
            return Wait(
                Reason.QUEUED,
                f"waits for {where}: {condition.get('reason')}: {text}. "
                f"`kubectl describe localqueue {queue}` shows what is in front of it",
            )
    return Wait(Reason.QUEUED, f"waits for {where} to admit it")


_CONTAINER_REMEDY = "A Secret, ConfigMap or volume that the spec names is missing in the namespace"


def _refused(told: Mapping[str, Json]) -> Wait | None:
    """Pods that the API server does not let the controller make."""
    for name, event in told.items():
        text = _text(event)
        if event.get("reason") not in _NO_POD:
            continue
        if "exceeded quota" in text or "failed quota" in text:
            remedy = "Ask for fewer or smaller workers, or for a larger ResourceQuota"
            return Wait(Reason.QUOTA, f"{_what(event, name)}: {text}. {remedy}")
        if "violates PodSecurity" in text:
            remedy = "The namespace admits safer pods only: see what it names"
            return Wait(Reason.WAITING, f"{_what(event, name)}: {text}. {remedy}")
    return None


def _image(m: Member) -> str:
    reason, text = m.waiting or ("", "")
    return (
        f"{_who(m)}: {reason}: {text}. Correct cluster.image, push it, or name its registry's "
        "credentials in cluster.image_pull_secrets"
    )


def _unschedulable(m: Member, waiting: Sequence[Member]) -> str:
    held = sum(bool(other.unschedulable) for other in waiting)
    others = f" and {held - 1} more" if held > 1 else ""
    return f"{_who(m)}{others}: FailedScheduling: {m.unschedulable.rstrip('.')}. {_remedy(m)}"


def _remedy(m: Member) -> str:
    if claim := _CLAIM.search(m.unschedulable):
        return (
            f'Create the PersistentVolumeClaim "{claim["name"]}", or name yours in cluster.volumes'
        )
    if _UNBOUND.search(m.unschedulable):
        return "`kubectl describe pvc` says why no volume is bound to the claim in cluster.volumes"
    remedy = (
        "Add such nodes, or change cluster.node_selector, tolerations or what a worker asks for"
    )
    lacking = sorted({found["what"] for found in _MISSING.finditer(m.unschedulable)})
    if lacking:
        remedy = f"No node has enough free {' and '.join(lacking)}. {remedy}"
    return remedy


def _who(m: Member) -> str:
    return f"{m.label} (pod {m.pod})"


def _what(event: Json, name: str) -> str:
    kind = (event.get("involvedObject") or {}).get("kind") or "object"
    return f"{str(kind).lower()} {name}: {event.get('reason')}"


def _text(event: Json) -> str:
    return " ".join(str(event.get("message") or "").split())


def _newest(events: Sequence[Json], names: Sequence[str]) -> dict[str, Json]:
    """The last warning of each object, in the order of the names: the workers' come first."""
    last = {
        str((event.get("involvedObject") or {}).get("name")): event
        for event in sorted(events, key=_time)
    }
    return {name: last[name] for name in names if name in last}


def _time(event: Json) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    created = (event.get("metadata") or {}).get("creationTimestamp")
    return str(next((t for t in (*times, created) if t), ""))
