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


def test_exit_code_of_a_tfjobs_worker_is_no_signal() -> None:
    """pod/ending.py adds 128 to the 1 of a traceback, so that the operator starts it again."""
    said = judge(seen(left(129, container="tensorflow"), workers=FAILED))
    assert (said.reason, said.message) == (
        Reason.CRASHED,
        "worker-0 (pod d0-worker-0-00) left with exit code 1 (PodFailurePolicy)",
    )
    said = judge(seen(left(137, container="tensorflow"), workers=FAILED))
    assert "was killed by SIGKILL" in said.message
    assert "SIGHUP" in judge(seen(left(129), workers=FAILED)).message  # of a worker of a Job


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


REACHED = Group(
    succeeded=False,
    reason="BackoffLimitExceeded",
    message="Job has reached the specified backoff limit",
)
THEN = "When training is complete, `launcher submit SPEC --resume` scores the last checkpoint"


def test_evaluator_that_has_failed_is_told_while_training_goes_on() -> None:
    scorer = left(65, role="evaluator", message="12:00:00 error: /data/val: no such file")
    said = judge(seen(pod(0), pod(1), scorer, evaluator=Group(succeeded=False)))
    assert (said.state, said.reason) == (State.RUNNING, Reason.STARTED)
    assert said.message == (
        "the evaluator has ended and training goes on: evaluator (pod d0-evaluator-0-00): "
        f"/data/val: no such file. {THEN}"
    )
    said = judge(seen(pod(0), pod(1), evaluator=REACHED))
    assert said.message == (
        "the evaluator has ended and training goes on: BackoffLimitExceeded: Job has reached the "
        f"specified backoff limit. {THEN}"
    )
    said = judge(seen(pod(0, "Pending"), pod(1), evaluator=REACHED))
    assert said.state is State.PENDING
    assert said.message.startswith("1 of 2 workers run; the evaluator has ended")
    said = judge(seen(left(75, 0), pod(1), evaluator=REACHED))
    assert said.state is State.RESTARTING
    assert "BackoffLimitExceeded" in said.message


def test_evaluator_that_is_done_before_the_training_is_told() -> None:
    done = Group(succeeded=True)
    said = judge(seen(pod(0), pod(1), evaluator=done))
    assert said.state is State.RUNNING
    assert "the evaluator has ended and training goes on: its Job is complete" in said.message
    assert judge(seen(pod(0), pod(1), evaluator=done, scored=True)).message == ""


def test_evaluator_that_found_the_run_ended_has_scored_nothing() -> None:
    """75 fails its Job at once: the run seemed to be over, as after hours of a suspended queue."""
    lines = "12:00:00 waiting\n12:00:01 the run is silent, and its newest checkpoint is scored"
    scorer = left(75, role="evaluator", message=lines)
    more = {"workers": Group(succeeded=True), "evaluator": FAILED}
    said = judge(seen(left(0, 0), left(0, 1), scorer, **more))
    assert (said.state, said.reason) == (State.FAILED, Reason.EVALUATION_FAILED)
    assert said.message.startswith("the training is complete; evaluator (pod d0-evaluator-0-00)")
    assert "the run is silent" in said.message
    assert said.message.endswith(". `launcher submit SPEC --resume` scores it")


def test_evaluator_that_left_with_0_and_no_score_has_not_scored() -> None:
    """Where the run's files are here; NFS may take its time to show them."""
    done = {"workers": Group(succeeded=True), "evaluator": Group(succeeded=True)}
    assert judge(seen(**done, scored=True)).state is State.SUCCEEDED
    assert judge(seen(**done, scored=False, settled=False)).state is State.EVALUATING
    said = judge(seen(**done, scored=False))
    assert (said.state, said.reason) == (State.FAILED, Reason.EVALUATION_FAILED)
    assert "no score of the last step. `launcher submit SPEC --resume` scores it" in said.message


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
