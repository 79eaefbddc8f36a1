"""A RayJob from its status: KubeRay's word, which is the test's here, and its driver's."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.backends.base import RunStatus
from launcher.backends.status import write_status
from launcher.contract import Reason, State
from tests.cluster.conftest import start

if TYPE_CHECKING:
    from launcher.planning import Plan

pytestmark = pytest.mark.cluster

LAST_WORDS = (
    "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 "
    "chars):\n12:00:00 step 8: loss nan\n2026-11-24 12:00:01 FAILED (diverged): worker-1: the loss "
    "is nan\n"
)


def kuberay_says(core: Any, namespace: str, **status: str) -> None:
    from kubernetes import client

    client.CustomObjectsApi(core.api_client).patch_namespaced_custom_object_status(
        "ray.io", "v1", namespace, "rayjobs", "d0", {"status": status}
    )


def test_reason_of_a_failed_driver(
    make_plan: "Callable[..., Plan]", core: Any, namespace: str
) -> None:
    handle = start(make_plan("backend.kubernetes.kind=rayjob"))
    kuberay_says(core, namespace, jobStatus="RUNNING", jobDeploymentStatus="Running")
    assert not handle.status().state.ended
    kuberay_says(core, namespace, jobStatus="FAILED", jobDeploymentStatus="Complete",
                 reason="AppFailed", message=LAST_WORDS)  # fmt: skip
    now = handle.status()
    assert (now.state, now.reason) == (State.FAILED, Reason.DIVERGED)
    assert now.message == "worker-1: the loss is nan"


def test_status_file_where_the_folder_is_mounted(
    make_plan: "Callable[..., Plan]", core: Any, namespace: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    volumes = [
        {"name": "data", "mount_path": "/data", "claim": "coco", "read_only": True},
        {"name": "runs", "mount_path": str(runs), "claim": "runs"},
    ]
    plan = make_plan(
        "backend.kubernetes.kind=rayjob",
        f"run_dir={runs}",
        f"cluster.volumes={json.dumps(volumes)}",
    )
    handle = start(plan)
    assert handle.root == runs / "d0"
    kuberay_says(core, namespace, jobStatus="RUNNING", jobDeploymentStatus="Running")
    state, reason, message = State.RESTARTING, Reason.STORAGE, "worker-1: disk full"
    said = RunStatus("d0", handle.root, state, reason, message, attempt=2, restarts=1)
    handle.root.mkdir(exist_ok=True)
    write_status(RunStatus(**{**vars(said), "submitted": time.time() + 1}))
    now = handle.status()
    assert (now.state, now.reason, now.message) == (state, reason, message)
    assert (now.attempt, now.restarts) == (2, 1)
    handle.cancel()
    assert handle.status().state is State.CANCELLED
