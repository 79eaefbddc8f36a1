"""Pods that the API server refuses to the controllers of JobSet, TFJob and RayJob.

These controllers are not there: what they make and say is the test's; whether a pod may be made is
the real server's word, and the JobSet's Job the real Job controller's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import BACKEND
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import Reason, State
from tests.cluster.conftest import eventually, start
from tests.cluster.kubelet import now, until

if TYPE_CHECKING:
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster
MINUTE = 60.0


@pytest.fixture
def small(core: Any, namespace: str) -> None:
    """No pod has room in the namespace's quota."""
    core.create_namespaced_resource_quota(
        namespace, {"metadata": {"name": "small"}, "spec": {"hard": {"requests.cpu": "100m"}}}
    )
    until(lambda: core.read_namespaced_resource_quota("small", namespace).status.hard)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("jobset", "job d0-worker-0: FailedCreate: "),
        ("tfjob", "tfjob d0: FailedCreatePod: "),
        ("rayjob", "raycluster d0-k4x2p: FailedToCreateHeadPod: "),
    ],
)
def test_quota(
    make_plan: "Callable[..., Plan]", core: Any, namespace: str, kind: str, about: str
) -> None:
    handle = start(make_plan(f"backend.kubernetes.kind={kind}"))
    api = Api(Place("", namespace))
    play[kind](core, api, namespace)
    found = eventually(handle.status, lambda told: told.message.startswith(about), MINUTE)
    assert (found.state, found.reason) == (State.PENDING, Reason.QUOTA)
    assert "exceeded quota: small" in found.message
    api.calls = 0
    BACKEND._ask(api, handle.root)
    assert api.calls <= 8  # the objects, and events of each: none of a pod


def _jobset(core: Any, api: Api, namespace: str) -> None:
    """Its Job, of whose pods the real controller says that they are refused."""
    from kubernetes import client

    owner = api.get("jobset.x-k8s.io/v1alpha2", "JobSet", "d0")
    assert owner
    job = owner["spec"]["replicatedJobs"][0]["template"]
    mine = {"kind": "JobSet", "apiVersion": "jobset.x-k8s.io/v1alpha2", "controller": True}
    refs = [{**mine, "name": "d0", "uid": owner["metadata"]["uid"]}]
    meta = {"name": "d0-worker-0", "labels": job["metadata"]["labels"], "ownerReferences": refs}
    client.BatchV1Api(core.api_client).create_namespaced_job(
        namespace, {"metadata": meta, "spec": job["spec"]}
    )


def _tfjob(core: Any, api: Api, namespace: str) -> None:
    item = api.get("kubeflow.org/v1", "TFJob", "d0")
    assert item
    text = _refusal(core, namespace, item["spec"]["tfReplicaSpecs"]["Worker"]["template"])
    _warn(core, namespace, "TFJob", "d0", "FailedCreatePod", f"Error creating: {text}")


def _rayjob(core: Any, api: Api, namespace: str) -> None:
    from kubernetes import client

    item = api.get("ray.io/v1", "RayJob", "d0")
    assert item
    status = {"rayClusterName": "d0-k4x2p", "jobDeploymentStatus": "Initializing"}
    client.CustomObjectsApi(core.api_client).patch_namespaced_custom_object_status(
        "ray.io", "v1", namespace, "rayjobs", "d0", {"status": status}
    )
    text = _refusal(core, namespace, item["spec"]["rayClusterSpec"]["headGroupSpec"]["template"])
    _warn(core, namespace, "RayCluster", "d0-k4x2p", "FailedToCreateHeadPod", text)


play: dict[str, Callable[[Any, Api, str], None]] = {
    "jobset": _jobset,
    "tfjob": _tfjob,
    "rayjob": _rayjob,
}


def _refusal(core: Any, namespace: str, template: dict[str, Any]) -> str:
    """What the API server answers to whoever makes such a pod."""
    import json

    from kubernetes.client.exceptions import ApiException

    pod = {"metadata": {"name": "d0-0", **template["metadata"]}, "spec": template["spec"]}
    with pytest.raises(ApiException) as caught:
        core.create_namespaced_pod(namespace, pod)
    return str(json.loads(caught.value.body)["message"])


def _warn(core: Any, namespace: str, kind: str, name: str, reason: str, text: str) -> None:
    core.create_namespaced_event(
        namespace,
        {
            "metadata": {"generateName": f"{name}."},
            "involvedObject": {"kind": kind, "name": name, "namespace": namespace},
            "type": "Warning", "reason": reason, "message": text,
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1,
        },
    )  # fmt: skip
