"""Which of several exits is the cause."""

import pytest

from launcher.backends.verdict import Exit, judge
from launcher.contract import Reason


@pytest.mark.parametrize(
    ("codes", "cause", "reason", "final", "counts"),
    [
        ([75, 65], 1, Reason.BAD_DATA, True, True),
        ([75, 64], 1, Reason.BAD_CONFIG, True, True),
        ([75, 66], 1, Reason.DIVERGED, True, True),
        ([75, -9], 1, Reason.CRASHED, False, True),
        ([75, 1], 1, Reason.CRASHED, False, True),
        ([75, 74], 1, Reason.STORAGE, False, True),
        ([75, 75], 0, Reason.PEER_LOST, False, True),
        ([75, 143], 1, Reason.PREEMPTED, False, False),
        ([0, 143], 1, Reason.PREEMPTED, False, False),
        ([-15, 75], 0, Reason.PREEMPTED, False, False),
        ([143, -9], 1, Reason.CRASHED, False, True),
        ([0, 75], 1, Reason.PEER_LOST, False, True),
    ],
)
def test_cause(codes: list[int], cause: int, reason: Reason, final: bool, counts: bool) -> None:
    exits = [Exit(f"worker-{i}", code) for i, code in enumerate(codes)]
    verdict = judge(exits)
    assert verdict.cause is exits[cause]
    assert (verdict.reason, verdict.final, verdict.counts) == (reason, final, counts)


def test_what_a_worker_did_after_it_was_stopped_says_nothing() -> None:
    exits = [Exit("worker-0", 75), Exit("worker-1", -9, stopped=True)]
    assert judge(exits).cause is exits[0]


@pytest.mark.parametrize("exits", [[], [Exit("worker-0", 0), Exit("worker-1", 143, stopped=True)]])
def test_a_group_of_which_none_says_why_counts(exits: list[Exit]) -> None:
    verdict = judge(exits)
    assert (verdict.reason, verdict.final, verdict.counts) == (Reason.PEER_LOST, False, True)
    assert str(verdict.cause) == "the group ended, and none said why"


def test_exit_in_words() -> None:
    assert str(Exit("worker-0", 65, told="x.record: bad")) == "worker-0: x.record: bad"
    assert str(Exit("worker-0", -9)) == "worker-0 was killed by SIGKILL"
    assert str(Exit("worker-0", 1, last_line="ValueError: x")) == (
        'worker-0 left with exit code 1; its log ends "ValueError: x"'
    )
