"""JobSet, TFJob and RayJob: what their status says of the workers."""

from typing import Any

import pytest

from launcher.backends.kubernetes.groups import group
from launcher.backends.kubernetes.state import judge
from launcher.contract import Reason, State
from tests.backends.kubernetes_pods import left, pod, seen

LATE = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}


@pytest.mark.parametrize("said", ["ReachedMaxRestarts", "FailJobSetFailurePolicyAction"])
def test_deadline_of_a_jobset_is_its_jobs(said: str) -> None:
    failed = {"type": "Failed", "status": "True", "reason": said, "message": "jobset failed"}
    item = {"kind": "JobSet", "spec": {}, "status": {"conditions": [failed]}}
    child = {"kind": "Job", "spec": {}, "status": {"conditions": [LATE]}}
    found = judge(seen(left(143, 0), left(143, 1), workers=group(item, [child])))
    assert (found.state, found.reason) == (State.FAILED, Reason.DEADLINE_EXCEEDED)
    assert "too long" in found.message
    assert "backend.kubernetes.max_hours" in found.message


def test_failed_jobset_is_explained_by_its_job() -> None:
    """It names the Job, and the Job the pod."""
    failed = {"type": "Failed", "status": "True", "reason": "FailJobSetFailurePolicyAction",
              "message": "applying FailJobSet failure policy action (first failed job: d0-worker-0)"
              }  # fmt: skip
    named = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message":
             "Container worker for pod v/d0-worker-1-00 failed with exit code 65 matching ..."
             }  # fmt: skip
    item = {"kind": "JobSet", "spec": {}, "status": {"conditions": [failed]}}
    child = {"kind": "Job", "spec": {}, "status": {"conditions": [named]}}
    said = judge(seen(left(66, 0), left(65, 1), workers=group(item, [child])))
    assert said.reason is Reason.BAD_DATA


def test_deadline_of_a_tfjob_is_in_its_message() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "TFJobFailed", "message":
              "Job d0 has failed because it was active longer than specified deadline"
              }  # fmt: skip
    item = {"kind": "TFJob", "spec": {}, "status": {"conditions": [failed]}}
    found = judge(seen(left(143, 0), workers=group(item)))
    assert found.reason is Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("item", "restarts", "reason"),
    [
        ({"restarts": 3}, 0, Reason.PREEMPTED),  # 0 is left out
        ({"restarts": 3, "restartsCountTowardsMax": 2}, 2, Reason.PEER_LOST),
    ],
)
def test_jobset_counts_the_restarts_that_are_not_free(
    item: Any, restarts: int, reason: Reason
) -> None:
    workers = group({"kind": "JobSet", "spec": {}, "status": item})
    said = judge(seen(pod(0, "Pending"), pod(1, "Pending"), workers=workers))
    assert (said.state, said.reason) == (State.RESTARTING, reason)
    assert (said.attempt, said.restarts) == (3, restarts)
    assert said.message.endswith("0 of 2 workers are back")


def test_tfjob_that_restarts_is_not_pending() -> None:
    """Its failed pods are deleted, and nothing on the new ones tells them from the first."""
    conditions = [
        {"type": "Created", "status": "True", "reason": "TFJobCreated"},
        {"type": "Restarting", "status": "True", "reason": "TFJobRestarting"},
    ]
    item = {"kind": "TFJob", "spec": {}, "status": {"conditions": conditions}}
    said = judge(seen(pod(0, "Pending"), pod(1), workers=group(item)))
    assert (said.state, said.reason) == (State.RESTARTING, Reason.PEER_LOST)
    assert said.message == "1 of 2 workers are back"
    assert judge(seen(pod(0), pod(1), workers=group(item))).state is State.RUNNING


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"kind": "JobSet", "spec": {}, "status": {
                "restarts": 5, "restartsCountTowardsMax": 2, "conditions": [
                {"type": "Failed", "status": "True", "reason": "FailedJobs", "message": "x  y"}
            ]}},
            (False, "FailedJobs", "x y", 2),
        ),
        (
            {"kind": "JobSet", "spec": {}, "status": {"conditions": [
                {"type": "Completed", "status": "True", "reason": "AllJobsCompleted"}
            ]}},
            (True, "AllJobsCompleted", "", 0),
        ),
        (
            {"kind": "TFJob", "spec": {}, "status": {"conditions": [
                {"type": "Running", "status": "False", "reason": "TFJobRunning"},
                {"type": "Succeeded", "status": "True", "reason": "TFJobSucceeded"},
            ]}},
            (True, "TFJobSucceeded", "", 0),
        ),
        (
            {"kind": "RayJob", "spec": {}, "status": {
                "jobStatus": "FAILED", "jobDeploymentStatus": "Failed", "reason": "AppFailed",
                "message": "exit 1",
            }},
            (False, "AppFailed", "exit 1", 0),
        ),
        (
            {"kind": "RayJob", "spec": {}, "status": {"jobDeploymentStatus": "Initializing"}},
            (None, "", "", 0),
        ),
    ],
)  # fmt: skip
def test_other_kinds(item: Any, expected: tuple[Any, ...]) -> None:
    found = group(item)
    assert (found.succeeded, found.reason, found.message, found.restarts) == expected
