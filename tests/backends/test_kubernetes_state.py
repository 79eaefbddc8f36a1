"""What pods, Jobs and events say of a run; tests/cluster has the whole."""

import pytest

from launcher.backends.kubernetes.groups import Group
from launcher.backends.kubernetes.state import judge
from launcher.contract import Reason, State
from tests.backends.kubernetes_pods import FAILED, left, pod, seen


@pytest.mark.parametrize(
    ("code", "why", "reason", "text"),
    [
        (64, "Error", Reason.BAD_CONFIG, "left with exit code 64"),
        (65, "Error", Reason.BAD_DATA, "left with exit code 65"),
        (66, "Error", Reason.DIVERGED, "left with exit code 66"),
        (74, "Error", Reason.STORAGE, "left with exit code 74"),
        (75, "Error", Reason.PEER_LOST, "left with exit code 75"),
        (1, "Error", Reason.CRASHED, "left with exit code 1"),
        (139, "Error", Reason.CRASHED, "was killed by SIGSEGV"),
        (143, "Error", Reason.PREEMPTED, "left with exit code 143"),
        (203, "Error", Reason.PEER_LOST, "left with exit code 75"),  # a TFJob's 75
        (137, "OOMKilled", Reason.OOM_KILLED, "cluster.memory_per_worker"),
    ],
)
def test_exit_codes(code: int, why: str, reason: Reason, text: str) -> None:
    said = judge(seen(left(code, 1, why=why), pod(0), workers=FAILED))
    assert (said.state, said.reason) == (State.FAILED, reason)
    assert said.message.startswith("worker-1 (pod d0-worker-1-00)")
    assert text in said.message


def test_cause_is_the_most_telling_of_the_last_attempt() -> None:
    old = left(74, 1)  # of an attempt before: what it said is over
    members = (old, left(75, 0, failures=1), left(137, 1, failures=1, why="OOMKilled"))
    said = judge(seen(*members, workers=FAILED))
    assert (said.reason, said.attempt, said.restarts) == (Reason.OOM_KILLED, 1, 1)


def test_message_of_the_process_is_told() -> None:
    log = "21:00:01 step 3\n21:00:02 error: /data/a: record 7 is damaged. Replace it\n21:00:02 bye"
    said = judge(seen(left(65, message=log), workers=FAILED))
    assert said.message == (
        "worker-0 (pod d0-worker-0-00): /data/a: record 7 is damaged. Replace it (PodFailurePolicy)"
    )


def test_disruptions_are_free_and_named() -> None:
    gone = {"conditions": [
        {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    ]}  # fmt: skip
    member = left(143, 0, status=gone)
    said = judge(seen(member, pod(0, "Pending", ignored=1), pod(1)))
    assert (said.state, said.reason) == (State.RESTARTING, Reason.PREEMPTED)
    assert (said.attempt, said.restarts) == (1, 0)
    assert "PreemptionByScheduler" in said.message
    assert "1 of 2 workers are back" in said.message


def test_evicted_says_what_was_short() -> None:
    status = {"reason": "Evicted", "message": "The node was low on resource: memory. "}
    said = judge(seen(left(137, 0, status=status), pod(1)))
    assert said.reason is Reason.EVICTED
    assert "The node was low on resource: memory." in said.message


def test_running_again_has_no_old_cause() -> None:
    said = judge(seen(left(75, 0), left(75, 1), pod(0, failures=1), pod(1, failures=1)))
    assert (said.state, said.reason, said.message) == (State.RUNNING, Reason.STARTED, "")
    assert (said.attempt, said.restarts) == (1, 1)


def test_one_worker_done_and_the_other_at_work() -> None:
    assert judge(seen(left(0, 0), pod(1))).state is State.RUNNING


@pytest.mark.parametrize(
    ("evaluator", "state", "reason"),
    [
        (Group(), State.EVALUATING, Reason.TRAINED),
        (Group(succeeded=True), State.SUCCEEDED, Reason.SCORED),
        (Group(succeeded=False), State.FAILED, Reason.EVALUATION_FAILED),
    ],
)
def test_after_the_training(evaluator: Group, state: State, reason: Reason) -> None:
    said = judge(seen(left(0, 0), left(0, 1), workers=Group(succeeded=True), evaluator=evaluator))
    assert (said.state, said.reason) == (state, reason)


def test_evaluator_that_waits_is_told_of_after_the_training() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    scorer = pod(0, "Pending", role="evaluator", state=waiting)
    said = judge(seen(left(0, 0), left(0, 1), scorer, workers=Group(succeeded=True)))
    assert said.state is State.EVALUATING
    assert "evaluator (pod d0-evaluator-0-00): ErrImagePull: no such image" in said.message


def test_failed_evaluator_does_not_fail_the_training() -> None:
    said = judge(seen(pod(0), pod(1), evaluator=Group(succeeded=False)))
    assert said.state is State.RUNNING


def test_preempted_pod_that_is_gone() -> None:
    said = judge(seen(pod(0, "Pending", ignored=1), pod(1)))
    assert (said.state, said.reason) == (State.RESTARTING, Reason.PREEMPTED)
    assert said.message.startswith("a worker had to leave its node")


def test_end_is_told_without_the_evaluators_job() -> None:
    """Removed by someone, or after ttlSecondsAfterFinished: the run is not in want of a submit."""
    said = judge(seen(left(66, 0), workers=FAILED, evaluator=None))
    assert (said.state, said.reason) == (State.FAILED, Reason.DIVERGED)
    trained = Group(succeeded=True)
    said = judge(seen(workers=trained, evaluator=None, scored=True))
    assert (said.state, said.reason) == (State.SUCCEEDED, Reason.SCORED)
    assert judge(seen(workers=trained, scored=True)).state is State.EVALUATING  # it scores again
    said = judge(seen(workers=trained, evaluator=None))
    assert (said.state, said.reason) == (State.FAILED, Reason.EVALUATION_FAILED)
    assert "`launcher submit SPEC --resume` scores it" in said.message


def test_cancelled_while_pods_leave_is_not_ended() -> None:
    leaving = pod(0, deleted=True)
    said = judge(seen(leaving, cancelled=True, workers=None, evaluator=None))
    assert (said.state, said.reason) == (State.RUNNING, Reason.CANCELLED)
    said = judge(seen(cancelled=True, workers=None, evaluator=None))
    assert (said.state, said.reason) == (State.CANCELLED, Reason.CANCELLED)


def test_interrupted_submit() -> None:
    said = judge(seen(workers=None))
    assert said.state is State.PENDING
    assert "interrupted before the workers" in said.message
    assert "interrupted before the evaluator" in judge(seen(evaluator=None)).message
