"""Why a run does not start: the pod or object, the reason, the event, and what to do."""

from typing import Any

import pytest

from launcher.backends.kubernetes.groups import Group
from launcher.backends.kubernetes.state import judge
from launcher.contract import Reason, State
from tests.backends.kubernetes_pods import event, pod, seen

UNSCHEDULED = {"conditions": [{
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/12 nodes are available: 12 Insufficient nvidia.com/gpu, 8 Insufficient cpu.",
}]}  # fmt: skip


def test_waiting_for_a_node() -> None:
    members = [pod(i, "Pending", status=UNSCHEDULED) for i in (0, 1)]
    said = judge(seen(*members))
    assert (said.state, said.reason) == (State.PENDING, Reason.UNSCHEDULABLE)
    assert "worker-0 (pod d0-worker-0-00) and 1 more: FailedScheduling: 0/12 nodes" in said.message
    assert "No node has enough free cpu and nvidia.com/gpu." in said.message


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ('persistentvolumeclaim "coco" not found', 'Create the PersistentVolumeClaim "coco", or'),
        ("pod has unbound immediate PersistentVolumeClaims", "`kubectl describe pvc` says why"),
    ],
)
def test_waiting_for_storage(why: str, remedy: str) -> None:
    (condition,) = UNSCHEDULED["conditions"]
    condition = {**condition, "message": f"0/12 nodes are available: {why}. not found"}
    said = judge(seen(pod(0, "Pending", status={"conditions": [condition]})))
    assert said.reason is Reason.UNSCHEDULABLE
    assert said.message.rpartition("not found. ")[2].startswith(remedy)
    assert "Add such nodes" not in said.message


def test_quota_wins_over_what_comes_of_it() -> None:
    text = 'pods "d0-worker-1-x" is forbidden: exceeded quota: small, requested: cpu=1'
    events = (event("d0-worker", "FailedCreate", text), event("other", "FailedCreate", "no"))
    said = judge(seen(pod(0, "Pending", status=UNSCHEDULED), events=events))
    assert said.reason is Reason.QUOTA
    assert said.message.startswith(f"job d0-worker: FailedCreate: {text}")


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("Job", "d0-worker-0", "FailedCreate"),  # which a JobSet has made
        ("TFJob", "d0", "FailedCreatePod"),
        ("RayCluster", "d0-k4x2p", "FailedToCreateHeadPod"),
        ("RayCluster", "d0-k4x2p", "FailedToCreateWorkerPod"),
    ],
)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Error creating: exceeded quota: small, requested: cpu=1", Reason.QUOTA),
        ('violates PodSecurity "restricted:latest": runAsNonRoot', Reason.WAITING),
    ],
)
def test_refused_pods_of_each_kind(
    kind: str, name: str, reason: str, text: str, expected: Reason
) -> None:
    said = judge(seen(events=(event(name, reason, text, kind=kind),), objects=("d0", name)))
    assert (said.state, said.reason) == (State.PENDING, expected)
    assert said.message.startswith(f"{kind.lower()} {name}: {reason}: {text}. ")


def test_newest_event_counts() -> None:
    events = (
        event("d0-worker", "FailedCreate", "the newer", "2026-11-24T21:05:00Z"),
        event("d0-worker", "FailedCreate", "the older", "2026-11-24T21:00:00Z"),
    )
    assert "the newer" in judge(seen(events=events)).message


QUEUED = Group(suspended=True)


@pytest.mark.parametrize(
    ("workloads", "text"),
    [
        (None, "Kueue is not installed"),
        ((), "Kueue has made no Workload for it"),
        (
            ({"status": {"conditions": [{
                "type": "QuotaReserved", "status": "False", "reason": "Pending",
                "message": "couldn't assign flavors to pod set main: insufficient quota",
            }]}},),
            "Pending: couldn't assign flavors",
        ),
        (({},), 'queue "gpus" to admit it'),
    ],
)  # fmt: skip
def test_queue(workloads: Any, text: str) -> None:
    said = judge(seen(workers=QUEUED, queue="gpus", workloads=workloads))
    assert (said.state, said.reason) == (State.PENDING, Reason.QUEUED)
    assert text in said.message
