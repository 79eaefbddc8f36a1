"""How containers on simulated nodes end: what a kubelet would write into the pod's status."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

_SECONDS = 60.0


class Kubelet:
    def __init__(self, core: Any, namespace: str) -> None:
        self._core = core
        self.namespace = namespace

    def pods(self, component: str = "worker") -> list[Any]:
        selector = f"app.kubernetes.io/component={component}"
        return list(self._core.list_namespaced_pod(self.namespace, label_selector=selector).items)

    def running(self, count: int, component: str = "worker", newer_than: int = 0) -> list[Any]:
        """Waits for so many running pods of a component, by index."""

        def ready() -> list[Any]:
            found = [p for p in self.pods(component) if p.status.phase == "Running"]
            found = [p for p in found if not p.metadata.deletion_timestamp]
            return found if len(found) >= count else []

        return sorted(until(ready), key=index)

    def end(self, pod: Any, code: int, reason: str = "", message: str = "") -> None:
        """Its container leaves with `code`."""
        terminated = {
            "exitCode": code,
            "reason": reason or ("Error" if code else "Completed"),
            "message": message,
            "startedAt": now(),
            "finishedAt": now(),
        }
        self._patch(pod, {"phase": "Failed" if code else "Succeeded"}, terminated)

    def evict(self, pod: Any, what: str = "memory") -> None:
        """As a node that is short of something: phase and reason, and a container killed."""
        status = {
            "phase": "Failed",
            "reason": "Evicted",
            "message": f"The node was low on resource: {what}.",
            "conditions": [_disrupted("TerminationByKubelet")],
        }
        self._patch(pod, status, {"exitCode": 137, "reason": "Error", "finishedAt": now()})

    def drain(self, pod: Any) -> None:
        """Through the Eviction API, as `kubectl drain`; the simulated container leaves with 143."""
        meta = {"name": pod.metadata.name, "namespace": self.namespace}
        self._core.create_namespaced_pod_eviction(
            pod.metadata.name,
            self.namespace,
            {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta},
        )

    def _patch(self, pod: Any, status: dict[str, Any], terminated: dict[str, Any]) -> None:
        container = pod.spec.containers[0]
        # A pod that has ended and is called ready still makes the Job controller's update invalid.
        conditions = [*status.get("conditions", []), *map(_not, ("Ready", "ContainersReady"))]
        status["conditions"] = conditions
        status["containerStatuses"] = [
            {
                "name": container.name,
                "image": container.image,
                "imageID": "",
                "ready": False,
                "started": False,
                "restartCount": 0,
                "state": {"terminated": terminated, "running": None, "waiting": None},
            }
        ]
        self._core.patch_namespaced_pod_status(
            pod.metadata.name, self.namespace, {"status": status}
        )


def index(pod: Any) -> int:
    return int(pod.metadata.labels.get("batch.kubernetes.io/job-completion-index", 0))


def until(ask: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s")
        time.sleep(0.1)
    return found


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _not(kind: str) -> dict[str, Any]:
    return {"type": kind, "status": "False", "reason": "PodFailed", "lastTransitionTime": now()}


def _disrupted(why: str) -> dict[str, Any]:
    return {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": why,
        "message": why,
        "lastTransitionTime": now(),
    }
