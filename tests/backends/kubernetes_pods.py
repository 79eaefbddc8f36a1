"""Pods, and what was read of a run, for tests of what they say. The objects are cut down from those
of a real control plane and of real kubelets."""

from typing import Any

from launcher.backends.kubernetes.groups import Group
from launcher.backends.kubernetes.members import Member, member
from launcher.backends.kubernetes.state import Seen

FAILED = Group(succeeded=False, reason="PodFailurePolicy", message="...")


def at(time: str) -> str:
    return f"2026-11-24T{time}:00Z"


def pod(index: int = 0, phase: str = "Running", *, role: str = "worker", **more: Any) -> Member:
    """more: state (of the container), container (its name), status, failures, ignored, deleted,
    created (HH:MM)."""
    annotations = {}
    if more.get("failures"):
        annotations["batch.kubernetes.io/job-index-failure-count"] = str(more["failures"])
    if more.get("ignored"):
        annotations["batch.kubernetes.io/job-index-ignored-failure-count"] = str(more["ignored"])
    labels = {"app.kubernetes.io/component": role}
    if role == "worker":
        labels["batch.kubernetes.io/job-completion-index"] = str(index)
    status = {"phase": phase, **more.get("status", {})}
    if "state" in more:
        name = more.get("container", role)
        status["containerStatuses"] = [{"name": name, "restartCount": 0, "state": more["state"]}]
    meta: dict[str, Any] = {
        "name": f"d0-{role}-{index}-{more.get('failures', 0)}{more.get('ignored', 0)}",
        "labels": labels,
        "annotations": annotations,
        "creationTimestamp": at(more.get("created", "21:00")),
    }
    if more.get("deleted"):
        meta["deletionTimestamp"] = "2026-11-24T21:01:00Z"
    return member({"metadata": meta, "spec": {"nodeName": "n"}, "status": status})


def left(code: int, index: int = 0, **more: Any) -> Member:
    """more: why, message, finished (HH:MM), and as of `pod`."""
    terminated = {"exitCode": code, "reason": more.pop("why", "Error"), "message": ""}
    terminated["message"] = more.pop("message", "")
    if "finished" in more:
        terminated["finishedAt"] = at(more.pop("finished"))
    return pod(index, "Failed" if code else "Succeeded", state={"terminated": terminated}, **more)


def seen(*members: Member, **more: Any) -> Seen:
    given: dict[str, Any] = {
        "count": 2, "queue": "", "has_evaluator": True, "cancelled": False,
        "workers": Group(), "evaluator": Group(), "members": members,
        "objects": ("d0-worker", "d0-evaluator"), **more,
    }  # fmt: skip
    return Seen(**given)


def event(
    name: str, reason: str, message: str, at: str = "2026-11-24T21:00:00Z", kind: str = "Job"
) -> Any:
    return {
        "involvedObject": {"kind": kind, "name": name},
        "reason": reason, "message": message, "lastTimestamp": at,
    }  # fmt: skip
