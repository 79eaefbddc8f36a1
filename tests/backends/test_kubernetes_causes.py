"""Which pod's end is told as the cause, when attempts are counted for each worker by itself."""

import pytest

from launcher.backends.kubernetes.groups import Group
from launcher.backends.kubernetes.members import Member
from launcher.backends.kubernetes.state import judge
from launcher.contract import Reason, State
from tests.backends.kubernetes_pods import left, pod, seen

TOO_MANY = Group(
    succeeded=False,
    reason="MaxFailedIndexesExceeded",
    message="Job has exceeded the specified maximal number of failed indexes",
)


def policy(name: str, code: int) -> Group:
    return Group(
        succeeded=False,
        reason="PodFailurePolicy",
        message=f"Container worker for pod vision/{name} failed with exit code {code} matching "
        "FailJob rule at index 0",
    )


def test_final_exit_wins_over_an_orderly_one_of_a_later_attempt() -> None:
    """Worker 1 was evicted alone before: it is one attempt ahead."""
    members = (left(66, 0), left(143, 1, ignored=1))
    said = judge(seen(*members, workers=policy("d0-worker-0-00", 66)))
    assert (said.state, said.reason) == (State.FAILED, Reason.DIVERGED)
    assert said.message.startswith("worker-0 (pod d0-worker-0-00) left with exit code 66")


def test_final_exit_is_never_over() -> None:
    """A TFJob names no pod, and starts the other worker once more before it has failed."""
    members = (
        left(66, 0, finished="21:10"),
        left(75, 1, failures=1, created="21:11", finished="21:15"),
    )
    failed = Group(succeeded=False, reason="TFJobFailed", message="1 Worker replica(s) failed.")
    assert judge(seen(*members, workers=failed)).reason is Reason.DIVERGED


def test_pod_that_the_job_names_is_told() -> None:
    members = (left(64, 0), left(66, 1, failures=1))
    said = judge(seen(*members, workers=policy("d0-worker-1-10", 66)))
    assert said.reason is Reason.DIVERGED
    assert said.message.startswith("worker-1 (pod d0-worker-1-10)")


def test_exit_code_is_known_when_the_pod_is_gone() -> None:
    said = judge(seen(workers=policy("d0-worker-0-x7k2p", 65)))
    assert (said.state, said.reason) == (State.FAILED, Reason.BAD_DATA)
    assert "pod vision/d0-worker-0-x7k2p failed with exit code 65" in said.message


EVICTED = {"reason": "Evicted", "message": "The node was low on resource: memory."}


@pytest.mark.parametrize(
    "free",
    [left(143, 1, ignored=2), left(137, 1, ignored=2, status=EVICTED)],
    ids=["preempted", "evicted"],
)
def test_what_does_not_count_is_not_why_a_run_has_failed(free: Member) -> None:
    said = judge(seen(left(1, 0), free, workers=TOO_MANY))
    assert (said.state, said.reason) == (State.FAILED, Reason.CRASHED)
    assert said.message == (
        "worker-0 (pod d0-worker-0-00) left with exit code 1 (MaxFailedIndexesExceeded)"
    )


def test_crash_is_told_and_not_what_the_worker_ahead_saw_of_it() -> None:
    said = judge(seen(left(1, 0, failures=1), left(75, 1, failures=1, ignored=1), workers=TOO_MANY))
    assert said.reason is Reason.CRASHED


def test_earlier_interruption_is_over_although_its_worker_was_not_lost_since() -> None:
    """Worker 1 crashed at 21:10; what ended at 22:00 was made after that."""
    members = (
        left(1, 1, finished="21:10"),
        left(75, 0, finished="21:11"),
        left(137, 0, why="OOMKilled", failures=1, created="21:12", finished="22:00"),
    )
    said = judge(seen(*members, pod(1, failures=1, created="21:12"), workers=TOO_MANY))
    assert said.reason is Reason.OOM_KILLED
    members = (*members[:2], left(75, 0, failures=1, created="21:12", finished="22:00"))
    assert judge(seen(*members, workers=TOO_MANY)).reason is Reason.PEER_LOST


def test_nothing_comes_back_by_itself_after_the_end() -> None:
    said = judge(seen(left(143, 0), workers=TOO_MANY))
    assert said.reason is Reason.PREEMPTED
    assert "--resume` continues it" in said.message
    assert "goes on" not in said.message
    said = judge(seen(left(143, 0), pod(1)))
    assert said.state is State.RESTARTING
    assert "It goes on from its checkpoint when there is room again" in said.message
