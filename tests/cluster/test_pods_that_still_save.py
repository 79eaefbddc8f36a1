"""Pods that take their time to leave: nothing new starts in their folder before they have.

Their node has no kubelet, so that they go when the test says so.
"""

import json
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.kubernetes import BACKEND, submitting
from launcher.backends.kubernetes.api import Api
from launcher.backends.kubernetes.connection import Place
from launcher.contract import State
from launcher.errors import RunFailedError
from tests.cluster.conftest import eventually, start
from tests.cluster.kubelet import Kubelet, now, until

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle
    from launcher.planning import Plan

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("claims")]
_TAINT = {"key": "launcher-test", "operator": "Exists", "effect": "NoSchedule"}


@pytest.fixture
def slow_node(core: Any, namespace: str) -> Iterator[str]:
    has = {"cpu": "8", "memory": "32Gi", "pods": "20", "ephemeral-storage": "1Ti"}
    taint = {key: _TAINT[key] for key in ("key", "effect")}
    labels = {"launcher-test": namespace, "kubernetes.io/hostname": namespace}
    core.create_node(
        {"metadata": {"name": namespace, "labels": labels}, "spec": {"taints": [taint]}}
    )
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
             "lastHeartbeatTime": now(), "lastTransitionTime": now()}  # fmt: skip
    status = {"capacity": has, "allocatable": has, "conditions": [ready]}
    core.patch_node_status(namespace, {"status": status})
    yield namespace
    core.delete_node(namespace)


@pytest.fixture
def failed(
    make_plan: "Callable[..., Plan]", slow_node: str, kubelet: Kubelet, core: Any
) -> "tuple[Plan, JobHandle]":
    """A run that has FAILED, and whose evaluator is still at work."""
    plan = make_plan(
        f"cluster.node_selector={json.dumps({'launcher-test': slow_node})}",
        f"cluster.tolerations={json.dumps([_TAINT])}",
        workers=1,
    )
    handle = start(plan)
    (worker,), (evaluator,) = (
        until(lambda role=role: [p for p in kubelet.pods(role) if p.spec.node_name])
        for role in ("worker", "evaluator")
    )
    core.patch_namespaced_pod_status(
        evaluator.metadata.name, kubelet.namespace, {"status": {"phase": "Running"}}
    )
    kubelet.end(worker, 66)
    eventually(handle.status, lambda told: told.state is State.FAILED)
    return plan, handle


def test_resume_waits_for_them(
    failed: "tuple[Plan, JobHandle]",
    kubelet: Kubelet,
    core: Any,
    capfd: pytest.CaptureFixture[str],
) -> None:
    plan, _ = failed
    api = Api(Place("", kubelet.namespace))
    again = threading.Thread(target=BACKEND.submit, args=(plan,), kwargs={"resume": True})
    again.start()
    (old,) = until(lambda: [p for p in kubelet.pods("evaluator") if p.metadata.deletion_timestamp])
    again.join(4.0)
    assert again.is_alive()
    assert api.get("batch/v1", "Job", "d0-worker") is None
    assert "d0: waiting for 1 pods of the earlier run" in capfd.readouterr().err
    core.delete_namespaced_pod(old.metadata.name, kubelet.namespace, grace_period_seconds=0)
    again.join(30.0)
    assert not again.is_alive()
    assert api.get("batch/v1", "Job", "d0-worker")


def test_pod_that_never_leaves_is_named(
    failed: "tuple[Plan, JobHandle]", monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, handle = failed
    monkeypatch.setattr(submitting, "grace_of", lambda pod: 0.0)
    monkeypatch.setattr(submitting, "GRACE_MARGIN_SECONDS", 1.0)
    said = r"1 pods of d0 do not end \(d0-evaluator-\w+\)"
    with pytest.raises(RunFailedError, match=said):
        BACKEND.delete(handle.root)
    with pytest.raises(RunFailedError, match=said):  # its objects are gone by now
        BACKEND.submit(plan)
