"""What a run waits for, told within a minute, with pod or object, reason and event."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import reading
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import Reason, State
from launcher.render.kubernetes import objects
from tests.cluster import kueue
from tests.cluster.conftest import eventually, kubectl, make_claims, plan_in, start
from tests.cluster.kubelet import Kubelet, until
from tests.cluster.kubelet import now as now_text

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster
MINUTE = 60.0
"""Within which a user is told what a run waits for."""


@pytest.mark.usefixtures("claims")
def test_image_that_cannot_be_pulled(make_plan: "Callable[..., Plan]", kubelet: Kubelet) -> None:
    handle = start(make_plan("cluster.image=registry.invalid/missing:1"))
    now = eventually(handle.status, lambda now: now.reason is Reason.IMAGE_PULL, MINUTE)
    assert now.state is State.PENDING
    assert re.match(r"worker-[01] \(pod d0-worker-[01]-\w+\): ", now.message)
    assert "ImagePullBackOff" in now.message
    assert "repository does not exist" in now.message
    assert "cluster.image" in now.message


@pytest.mark.usefixtures("claims")
def test_no_node_has_so_many_gpus(make_plan: "Callable[..., Plan]") -> None:
    handle = start(make_plan("cluster.gpus_per_worker=64", "batch.global_batch=2048"))
    now = eventually(handle.status, lambda now: "nvidia.com/gpu" in now.message, MINUTE)
    assert (now.state, now.reason) == (State.PENDING, Reason.UNSCHEDULABLE)
    assert "FailedScheduling" in now.message


def test_claim_that_is_missing(make_plan: "Callable[..., Plan]") -> None:
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.UNSCHEDULABLE, MINUTE)
    assert 'persistentvolumeclaim "coco" not found' in now.message


@pytest.mark.usefixtures("claims")
def test_quota(core: Any, make_plan: "Callable[..., Plan]", namespace: str) -> None:
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "500m"}}}
    )
    until(lambda: core.read_namespaced_resource_quota("small", namespace).status.hard)
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.QUOTA, MINUTE)
    assert "job d0-worker: FailedCreate" in now.message
    assert "exceeded quota: small" in now.message


@pytest.mark.usefixtures("claims")
def test_part_of_the_workers_for_the_quota(
    core: Any, make_plan: "Callable[..., Plan]", namespace: str
) -> None:
    """One runs and waits for the other: still a run that has not started, and why."""
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "1500m"}}}
    )
    until(lambda: core.read_namespaced_resource_quota("small", namespace).status.hard)
    handle = start(make_plan())
    now = eventually(handle.status, lambda now: now.reason is Reason.QUOTA, MINUTE)
    assert now.state is State.PENDING


def test_queue_without_a_workload(make_plan: "Callable[..., Plan]", namespace: str) -> None:
    """Suspended by the render, or by Kueue's webhook: nobody admits it."""
    handle, _ = _queued(make_plan, namespace)
    now = eventually(handle.status, lambda now: now.reason is Reason.QUEUED, MINUTE)
    assert now.state is State.PENDING
    assert 'queue "gpus"' in now.message
    assert "Kueue is not installed" in now.message or "Kueue has made no Workload" in now.message


@pytest.mark.parametrize("version", ["v1beta1", "v1beta2"])
def test_workload_without_quota(
    make_plan: "Callable[..., Plan]", core: Any, namespace: str, version: str
) -> None:
    """Kueue itself is not there: its kind is, and the Workload that it would make is the test's."""
    from kubernetes import client

    kueue.install(core, "workloads")
    handle, job = _queued(make_plan, namespace)
    refs = [{"apiVersion": "batch/v1", "kind": "Job", "name": "d0-worker", "controller": True,
             "uid": job["metadata"]["uid"]}]  # fmt: skip
    pods = {"name": "main", "count": 2, "template": job["spec"]["template"]}
    item = {
        "apiVersion": f"kueue.x-k8s.io/{version}",
        "kind": "Workload",
        "metadata": {"name": "job-d0-worker-3f2a1", "ownerReferences": refs},
        "spec": {"queueName": "gpus", "podSets": [pods]},
    }
    where = ("kueue.x-k8s.io", version, namespace, "workloads")
    custom = client.CustomObjectsApi(core.api_client)
    made = custom.create_namespaced_custom_object(*where, item)
    assert 'queue "gpus" to admit it' in handle.status().message
    text = "couldn't assign flavors to pod set main: insufficient quota for nvidia.com/gpu"
    condition = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": text,
                 "lastTransitionTime": now_text()}  # fmt: skip
    custom.patch_namespaced_custom_object_status(
        *where, made["metadata"]["name"], {"status": {"conditions": [condition]}}
    )
    now = handle.status()
    assert (now.state, now.reason) == (State.PENDING, Reason.QUEUED)
    assert f'waits for queue "gpus": Pending: {text}. ' in now.message


def test_queue_is_that_of_the_object(make_plan: "Callable[..., Plan]", namespace: str) -> None:
    """Someone has moved it since the plan was made."""
    handle, _ = _queued(make_plan, namespace)
    kubectl("label", "job", "d0-worker", "-n", namespace, "--overwrite",
            "kueue.x-k8s.io/queue-name=others")  # fmt: skip
    assert 'queue "others"' in handle.status().message


def _queued(make_plan: "Callable[..., Plan]", namespace: str) -> "tuple[JobHandle, dict[str, Any]]":
    """Submitted with a queue, and suspended."""
    handle = start(make_plan("cluster.queue=gpus"))
    kubectl("patch", "job", "d0-worker", "-n", namespace, "--type=merge",
            "--patch", '{"spec": {"suspend": true}}')  # fmt: skip
    job = reading.read(Api(Place("", namespace)), "d0").workers
    assert job
    return handle, job


def test_pods_that_a_namespace_refuses_are_told(
    core: Any, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_in(restricted)
    unsafe = objects(plan)
    del unsafe[2]["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
    monkeypatch.setattr("launcher.render.kubernetes.objects", lambda made: unsafe)
    handle = start(plan)
    now = eventually(handle.status, lambda now: "PodSecurity" in now.message, MINUTE)
    assert now.reason is Reason.WAITING
    assert "runAsNonRoot" in now.message


@pytest.mark.usefixtures("kubelet")
def test_restricted_namespace_admits_the_pods(core: Any, restricted: str) -> None:
    make_claims(core, restricted)
    handle = start(plan_in(restricted))
    eventually(handle.status, lambda now: now.state is State.RUNNING)
