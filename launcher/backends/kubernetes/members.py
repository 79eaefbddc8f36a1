"""A pod as a member of a run: which worker it is, how far it is, how its container ended. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.backends.verdict import Exit
from launcher.contract import Reason
from launcher.errors import WorkerExit
from launcher.render.kubernetes import names as wire

Json = Mapping[str, Any]

_INDEX_LABELS = ("batch.kubernetes.io/job-completion-index", wire.REPLICA_INDEX_LABEL)
_COUNTED = wire.FAILURE_COUNT_ANNOTATION
_IGNORED = "batch.kubernetes.io/job-index-ignored-failure-count"
_JOBSET_ATTEMPT = "jobset.sigs.k8s.io/restart-attempt"

_ERROR = re.compile(r"(?:^|\s)error: (.+)")
_TRACEBACK = 1
"""Exit code of a Python that says nothing better."""
_SIGNALLED, _LAST_SIGNAL = 128, 64
"""A shell's way to tell that a signal ended a program: 128 + its number."""

_DISRUPTIONS = {
    "PreemptionByScheduler": "was preempted by a pod of higher priority",
    "DeletionByTaintManager": "had to leave its node, which was tainted",
    "EvictionByEvictionAPI": "was evicted through the API: its node is being drained",
    "DeletionByPodGC": "was on a node that is gone",
    "TerminationByKubelet": "was ended by its node, which shuts down",
}
"""Reasons of the condition DisruptionTarget (Kubernetes 1.31 and newer)."""


@dataclass(frozen=True)
class Member:
    """`attempt`: how often this worker's place was taken before, whatever the cause."""

    pod: str
    role: str
    index: int
    attempt: int
    failures: int
    """Of those, how many its Job counts against max_restarts."""
    uid: str
    """A TFJob's pods have their predecessors' names."""
    created: str
    finished: str
    """When its container left, as Kubernetes writes it; empty: it has not, or nobody knows."""
    phase: str
    node: str
    leaving: bool
    exit: Exit | None
    reason: Reason | None
    """Of a bad end that has a name of its own in Kubernetes."""
    waiting: tuple[str, str] | None
    """Reason and message of a container that cannot start."""
    unschedulable: str

    @property
    def label(self) -> str:
        return f"worker-{self.index}" if self.role == wire.WORKER else self.role

    @property
    def running(self) -> bool:
        return self.phase == "Running" and not self.leaving

    @property
    def ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")


def member(pod: Json) -> Member:
    meta, status = pod["metadata"], pod.get("status") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    role = str(labels.get(wire.COMPONENT_LABEL) or wire.WORKER)
    index = next((int(labels[name]) for name in _INDEX_LABELS if name in labels), 0)
    counted = int(notes.get(_COUNTED) or 0)
    container = _container(pod, status)
    state = container.get("state") or {}
    tfjob = container.get("name") == wire.TFJOB_CONTAINER
    restarts = int(container.get("restartCount") or 0)
    attempt = counted + int(notes.get(_IGNORED) or 0) + restarts
    attempt += int(labels.get(_JOBSET_ATTEMPT) or 0)
    label = f"{role}-{index}" if role == wire.WORKER else role
    ended, reason = _end(meta["name"], label, status, state.get("terminated"), tfjob=tfjob)
    waiting = state.get("waiting") or {}
    return Member(
        pod=meta["name"],
        role=role,
        index=index,
        attempt=attempt,
        failures=counted + restarts,
        uid=str(meta.get("uid") or ""),
        created=str(meta.get("creationTimestamp") or ""),
        finished=str((state.get("terminated") or {}).get("finishedAt") or ""),
        phase=str(status.get("phase") or "Pending"),
        node=str((pod.get("spec") or {}).get("nodeName") or ""),
        leaving=bool(meta.get("deletionTimestamp")),
        exit=ended,
        reason=reason,
        waiting=(waiting["reason"], waiting.get("message") or "")
        if waiting.get("reason")
        else None,
        unschedulable=_unschedulable(status),
    )


def _container(pod: Json, status: Json) -> Json:
    """Status of the container that is ours: a cluster may add others beside it."""
    own = (wire.WORKER, wire.EVALUATOR, wire.TFJOB_CONTAINER)
    found = status.get("containerStatuses") or []
    return next((c for c in found if c["name"] in own), found[0] if found else {})


def _end(
    pod: str, label: str, status: Json, terminated: Json | None, *, tfjob: bool
) -> tuple[Exit | None, Reason | None]:
    """How it left, and the reason where Kubernetes has one; (None, None) while it has not."""
    if status.get("phase") not in ("Succeeded", "Failed"):
        return None, None
    done = terminated or {}
    left = int(done.get("exitCode", 0 if status["phase"] == "Succeeded" else _TRACEBACK))
    code = _code(left, tfjob=tfjob)
    lines = str(done.get("message") or "").strip().splitlines()
    reason, text = _kubernetes_reason(status, done, code)
    last = lines[-1][:200] if lines else ""
    return Exit(f"{label} (pod {pod})", code, told=text or _error(lines), last_line=last), reason


def _code(code: int, *, tfjob: bool) -> int:
    """As a process of this machine would give it: -9 for SIGKILL. Ours stay as they are, and those
    that a TFJob's worker shifts by 128 so that the operator starts it again come back: 203 is 75,
    and 129 a traceback's 1, where it would else be SIGHUP."""
    if tfjob and code == _SIGNALLED + _TRACEBACK:
        return _TRACEBACK
    if code <= _SIGNALLED or code == WorkerExit.STOPPED:
        return code
    return code - _SIGNALLED if code > _SIGNALLED + _LAST_SIGNAL else _SIGNALLED - code


def _kubernetes_reason(status: Json, done: Json, code: int) -> tuple[Reason | None, str]:
    if done.get("reason") == "OOMKilled":
        return Reason.OOM_KILLED, (
            "its node ended it because it used more main memory than its limit (OOMKilled)"
        )
    message = " ".join(str(status.get("message") or "").split())
    if status.get("reason") == "Evicted":
        return Reason.EVICTED, f"its node evicted it: {message or 'it was short of something'}"
    if status.get("reason") == "DeadlineExceeded":
        return Reason.DEADLINE_EXCEEDED, f"it ran longer than it may: {message}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            why = _DISRUPTIONS.get(condition.get("reason") or "", "had to leave its node")
            return Reason.PREEMPTED, f"it {why} ({condition.get('reason')})"
    if code in (WorkerExit.STOPPED, -15):
        return Reason.PREEMPTED, ""
    return None, ""


def _error(lines: Sequence[str]) -> str:
    """What the process itself said: the container's message is the end of its log."""
    said = [found[1] for line in lines if (found := _ERROR.search(line))]
    return said[-1][:600] if said else ""


def _unschedulable(status: Json) -> str:
    """The scheduler's word on why no node fits; empty: one does."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return " ".join(str(condition.get("message") or condition.get("reason")).split())
    return ""
