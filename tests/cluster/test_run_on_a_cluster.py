"""A run from submit to its score, and each way in which its pods can end, on a real control plane.

The API server, the scheduler and the Job controller are the real ones; the kubelet's word on how a
container ended is the test's (kubelet.py).
"""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import BACKEND
from launcher.contract import Reason, State
from launcher.errors import WorkerExit
from tests.cluster.conftest import eventually, kubectl, start
from tests.cluster.kubelet import Kubelet, index, until

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle, RunStatus
    from launcher.planning import Plan

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("claims")]


NODE_CPUS = "2"
TOLERATION = {"key": "launcher-test", "operator": "Exists", "effect": "NoSchedule"}


@pytest.fixture
def full_node(core: Any, kubelet: Kubelet) -> "Iterator[str]":
    """A simulated node with room for one worker and one evaluator, and a PriorityClass; both have
    the namespace's name."""
    from kubernetes import client

    name = kubelet.namespace
    has = {"cpu": NODE_CPUS, "memory": "64Gi", "pods": "20", "ephemeral-storage": "1Ti"}
    meta = {
        "name": name,
        "annotations": {"kwok.x-k8s.io/node": "fake"},
        "labels": {"launcher-test": name, "kubernetes.io/hostname": name},
    }
    taints = [{key: TOLERATION[key] for key in ("key", "effect")}]
    classes = client.SchedulingV1Api(core.api_client)
    classes.create_priority_class({"metadata": {"name": name}, "value": 1_000_000})
    status = {"capacity": has, "allocatable": has}
    core.create_node({"metadata": meta, "spec": {"taints": taints}, "status": status})
    yield name
    core.delete_node(name)
    classes.delete_priority_class(name)


def started(plan: "Plan", kubelet: Kubelet) -> "JobHandle":
    """Submitted as `api.start` does, and all pods at work."""
    from launcher import api

    handle = api.start(api.Prepared(plan, None))
    eventually(handle.status, lambda now: now.state is State.RUNNING)
    kubelet.running(1, "evaluator")
    return handle


def test_trained_and_scored(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    handle = started(make_plan(), kubelet)
    now = handle.status()
    assert (now.reason, now.attempt, now.total_steps) == (
        Reason.STARTED,
        0,
        make_plan().total_steps,
    )
    for pod in kubelet.running(2):
        kubelet.end(pod, 0)
    now = eventually(handle.status, lambda now: now.state is State.EVALUATING)
    assert now.reason is Reason.TRAINED
    assert now.step == now.total_steps
    kubelet.end(kubelet.running(1, "evaluator")[0], 0)
    now = eventually(handle.status, lambda now: now.state is State.SUCCEEDED)
    assert now.reason is Reason.SCORED
    assert "/mnt/launcher-runs/d0" in now.message  # where its scores are: not here


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (WorkerExit.BAD_CONFIG, Reason.BAD_CONFIG),
        (WorkerExit.BAD_DATA, Reason.BAD_DATA),
        (WorkerExit.DIVERGED, Reason.DIVERGED),
    ],
)
def test_final_exit_ends_the_run(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet, code: WorkerExit, reason: Reason
) -> None:
    """podFailurePolicy: no second start, although backoffLimitPerIndex has some left."""
    handle = started(make_plan(), kubelet)
    kubelet.end(kubelet.running(2)[1], int(code), message="12:00:00 error: the very cause")
    now = eventually(handle.status, lambda now: now.state is State.FAILED)
    assert now.reason is reason
    assert now.message.startswith("worker-1 (pod d0-worker-1-")
    assert "the very cause" in now.message
    assert "PodFailurePolicy" in now.message


def test_lost_peers_come_back_each_at_its_index(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    handle = started(make_plan("restart.max_restarts=2"), kubelet)
    first = kubelet.running(2)
    kubelet.end(first[0], -1 % 256, message="Segmentation fault")
    kubelet.end(first[1], int(WorkerExit.PEER_LOST))
    now = eventually(handle.status, lambda now: now.state is State.RESTARTING)
    assert now.reason is Reason.CRASHED  # the cause, not what the other saw of it
    assert "worker-0" in now.message
    now = eventually(handle.status, lambda now: now.state is State.RUNNING)
    assert (now.attempt, now.restarts) == (1, 1)
    again = kubelet.running(2)
    assert [index(pod) for pod in again] == [0, 1]
    assert {p.metadata.name for p in again}.isdisjoint(p.metadata.name for p in first)


def test_storage_fault_is_tried_again_and_told(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    handle = started(make_plan("restart.max_restarts=1"), kubelet)
    first, second = kubelet.running(2)
    kubelet.end(second, int(WorkerExit.STORAGE), message="12:00:00 error: /mnt/runs: disk full")
    kubelet.end(first, int(WorkerExit.PEER_LOST))
    now = eventually(handle.status, lambda now: now.state is State.RESTARTING)
    assert now.reason is Reason.STORAGE
    assert "/mnt/runs: disk full" in now.message
    now = eventually(handle.status, lambda now: now.state is State.RUNNING)
    assert (now.attempt, now.restarts) == (1, 1)


def test_restarts_are_counted_and_end(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    """backoffLimitPerIndex and maxFailedIndexes: 0: one index out of restarts fails the Job."""
    handle = started(make_plan("restart.max_restarts=1"), kubelet)
    names = {p.metadata.name for p in kubelet.running(2)}
    kubelet.end(kubelet.running(2)[0], int(WorkerExit.PEER_LOST))
    eventually(handle.status, lambda now: now.attempt == 1 and now.state is State.RUNNING)
    again = next(p for p in kubelet.running(2) if p.metadata.name not in names)
    kubelet.end(again, int(WorkerExit.PEER_LOST))
    now = eventually(handle.status, lambda now: now.state is State.FAILED)
    assert now.reason is Reason.PEER_LOST
    assert (now.attempt, now.restarts) == (1, 1)


@pytest.mark.parametrize("how", ["drained", "stopped"])
def test_preemption_is_free(make_plan: "Callable[..., Plan]", kubelet: Kubelet, how: str) -> None:
    """More often than max_restarts, which is 0 here."""
    handle = started(make_plan("restart.max_restarts=0", workers=1), kubelet)
    for attempt in (1, 2):
        pod = kubelet.running(1)[0]
        if how == "drained":
            kubelet.drain(pod)
        else:
            kubelet.end(pod, int(WorkerExit.STOPPED))
        now = eventually(
            handle.status, lambda now, k=attempt: now.attempt == k and now.state is State.RUNNING
        )
        assert now.restarts == 0


def test_pod_of_higher_priority_takes_the_room(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet, core: Any, full_node: str
) -> None:
    """The real scheduler preempts worker and evaluator, which come back when there is room."""
    plan = make_plan(
        "restart.max_restarts=0",
        f"cluster.node_selector={json.dumps({'launcher-test': full_node})}",
        f"cluster.tolerations={json.dumps([TOLERATION])}",
        workers=1,
    )
    handle = started(plan, kubelet)
    intruder = {
        "metadata": {"name": "intruder"},
        "spec": {
            "priorityClassName": full_node,
            "nodeSelector": {"launcher-test": full_node},
            "tolerations": [TOLERATION],
            "containers": [
                {"name": "x", "image": "x", "resources": {"requests": {"cpu": NODE_CPUS}}}
            ],
        },
    }
    core.create_namespaced_pod(kubelet.namespace, intruder)
    now = eventually(handle.status, lambda now: now.state is State.RESTARTING)
    assert now.reason is Reason.PREEMPTED
    now = eventually(handle.status, lambda now: "FailedScheduling" in now.message)
    assert (now.state, now.reason) == (State.RESTARTING, Reason.PREEMPTED)
    core.delete_namespaced_pod("intruder", kubelet.namespace, grace_period_seconds=0)
    now = eventually(handle.status, lambda now: now.state is State.RUNNING)
    assert (now.attempt, now.restarts) == (1, 0)


def test_out_of_memory_has_its_remedy(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    handle = started(make_plan("restart.max_restarts=0"), kubelet)
    pods = kubelet.running(2)
    kubelet.end(pods[0], 137, reason="OOMKilled")
    now = eventually(handle.status, lambda now: now.state is State.FAILED)
    assert now.reason is Reason.OOM_KILLED
    assert "cluster.memory_per_worker" in now.message


def test_eviction_restarts_and_says_what_the_node_lacked(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    handle = started(make_plan("restart.max_restarts=0"), kubelet)
    kubelet.evict(kubelet.running(2)[1], "ephemeral-storage")
    seen: list[RunStatus] = []

    def back(now: "RunStatus") -> bool:
        seen.append(now)
        return now.state is State.RUNNING and now.attempt == 1

    now = eventually(handle.status, back)
    assert now.restarts == 0  # a disruption, not a failure
    told = [s for s in seen if s.state is State.RESTARTING]
    assert told
    assert told[0].reason is Reason.EVICTED
    assert "ephemeral-storage" in told[0].message


@pytest.mark.usefixtures("kubelet")
def test_deadline(make_plan: "Callable[..., Plan]") -> None:
    handle = start(make_plan("backend.kubernetes.max_hours=0.003"))
    now = eventually(handle.status, lambda now: now.state is State.FAILED)
    assert now.reason is Reason.DEADLINE_EXCEEDED
    assert "max_hours" in now.message


def test_evaluator_fails_after_the_training(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    handle = started(make_plan(workers=1), kubelet)
    kubelet.end(kubelet.running(1)[0], 0)
    kubelet.end(kubelet.running(1, "evaluator")[0], int(WorkerExit.BAD_DATA), message="error: bad")
    now = eventually(handle.status, lambda now: now.state is State.FAILED)
    assert now.reason is Reason.EVALUATION_FAILED
    assert "the training is complete; evaluator" in now.message


def test_evaluator_that_found_the_run_ended_is_not_started_again(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    """75: after hours in which all workers waited for a queue, say. Training goes on without it."""
    handle = started(make_plan(workers=1), kubelet)
    kubelet.end(kubelet.running(1, "evaluator")[0], 75, message="the run is silent: leaving")
    now = eventually(handle.status, lambda now: "the evaluator has ended" in now.message)
    assert now.state is State.RUNNING
    assert "left with exit code 75" in now.message
    assert "`launcher submit SPEC --resume` scores the last checkpoint" in now.message
    assert len(kubelet.pods("evaluator")) == 1
    kubelet.end(kubelet.running(1)[0], 0)
    now = eventually(handle.status, lambda now: now.state.ended)
    assert (now.state, now.reason) == (State.FAILED, Reason.EVALUATION_FAILED)
    assert now.message.endswith("`launcher submit SPEC --resume` scores it")


def test_scores_come_through_the_pods(
    make_plan: "Callable[..., Plan]",
    kubelet: Kubelet,
    container_log: "Callable[[list[str]], object]",
) -> None:
    """Its folder is on a volume that is not mounted here; the target is judged all the same."""
    from launcher.cli import outcome
    from launcher.errors import TargetMissedError

    plan = make_plan("evaluate.target_map=33.6", workers=1)
    last = f"12:26:05 step {plan.total_steps}: mAP 0.3150, AP50 0.5010, 2000 detections (1.0 images"
    container_log(["12:24:50 step 7: mAP 0.0100, AP50 0.0200, 9 detections (", last])
    handle = started(plan, kubelet)
    kubelet.end(kubelet.running(1)[0], 0)
    kubelet.end(kubelet.running(1, "evaluator")[0], 0)
    eventually(handle.status, lambda now: now.state is State.SUCCEEDED)
    found = handle.results()
    assert [row["step"] for row in found.history] == [7, plan.total_steps]
    assert found.final is not None
    assert (found.final["mAP"], found.final["AP50"]) == (0.315, 0.501)
    assert found.target_met is False
    with pytest.raises(TargetMissedError, match=r"mAP 31\.5 is below the target 33\.6"):
        outcome.raise_miss(handle)
    assert handle.status().progress.last_map == 0.315
    kubectl("delete", "job", "d0-evaluator", "-n", kubelet.namespace)
    assert handle.status().state is State.SUCCEEDED  # its score is here


def test_cancel_saves_keeps_the_plan_and_may_be_repeated(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    handle = started(make_plan(), kubelet)
    assert handle.cancel().state is State.CANCELLED
    assert kubelet.pods() == []
    assert BACKEND.cancel(handle.root) is False
    assert handle.status().reason is Reason.CANCELLED


def test_cancelled_run_is_resumed(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    plan = make_plan()
    handle = started(plan, kubelet)
    handle.cancel()
    BACKEND.submit(plan, resume=True)
    now = eventually(handle.status, lambda now: now.state is State.RUNNING)
    assert now.reason is Reason.STARTED
    assert until(lambda: len(kubelet.running(2)) == 2)


def test_delete_removes_all_and_may_be_repeated(
    make_plan: "Callable[..., Plan]", kubelet: Kubelet
) -> None:
    from launcher import api
    from launcher.backends.kubernetes import reading
    from launcher.backends.kubernetes.api import Api
    from launcher.backends.kubernetes.connection import Place
    from launcher.errors import UsageError

    handle = started(make_plan(), kubelet)
    with pytest.raises(UsageError, match="is running"):
        api.delete("d0")
    handle.cancel()
    assert api.delete("d0") == handle.root
    cluster = Api(Place("", kubelet.namespace))
    assert reading.all_objects(cluster, "d0") == []
    assert api.delete("d0") is None
    assert not handle.root.exists()
