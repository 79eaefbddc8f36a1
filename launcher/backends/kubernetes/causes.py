"""Which of the pods that failed explains why a run was interrupted, or why it ended. Pure.

Attempts are counted for each worker by itself: one that was evicted alone is ahead of the others.
So what belongs together is found by time: a pod that had ended before the last one that failed was
made says nothing of that end.
"""

import re
from collections.abc import Sequence

from launcher.backends.kubernetes.members import Member
from launcher.backends.verdict import Exit
from launcher.contract import Reason

_RANK = (
    Reason.BAD_CONFIG, Reason.BAD_DATA, Reason.DIVERGED, Reason.STORAGE, Reason.OOM_KILLED,
    Reason.EVICTED, Reason.DEADLINE_EXCEEDED, Reason.CRASHED, Reason.PREEMPTED, Reason.PEER_LOST,
)  # fmt: skip
"""The cause among several exits, most telling first: backends/verdict.py's, and a cluster's own."""

_FREE = (Reason.PREEMPTED, Reason.EVICTED)
"""Such pods are started again whatever max_restarts says: no run has ended because of them."""

_NAMED = re.compile(
    r"\bpod (?:[^\s/]+/)?(?P<pod>[a-z0-9][a-z0-9.-]*[a-z0-9])"
    r"(?: failed with exit code (?P<code>\d+))?",
    re.I,
)
"""In a Job's message: `Container worker for pod vision/d3-worker-1-x7k2p failed with exit code 66
matching FailJob rule at index 0`, `Pod vision/d3-worker-1-x7k2p has condition ...`."""

_REMEDIES = {
    Reason.OOM_KILLED: "Raise cluster.memory_per_worker. (Of the GPU's memory its log would end "
    "with ResourceExhausted: then halve batch.per_replica_batch; `launcher plan` shows the rest)",
    Reason.EVICTED: "Ask for what it uses with cluster.memory_per_worker, or write to a volume "
    "instead of the node's disk",
}
_COMES_BACK = "It goes on from its checkpoint when there is room again, and does not count"
_RESUME = "`launcher submit SPEC --resume` continues it from its checkpoint"


def of_restart(members: Sequence[Member]) -> Member | None:
    """Why the workers start again, or the evaluator does."""
    return _most_telling(_last_together(_bad(members)))


def of_end(members: Sequence[Member], said: str) -> Member | None:
    """Why the run has failed. `said`: the message of the Job, which may name a pod."""
    bad = _bad(members)
    if named := _NAMED.search(said):
        for m in bad:
            if m.pod == named["pod"]:
                return m
    counted = [m for m in bad if reason_of(m) not in _FREE]
    return _most_telling(_last_together(counted or bad))


def exit_in(said: str) -> Exit | None:
    """How the pod ended that a Job's message names: the pod itself may be gone."""
    named = _NAMED.search(said)
    if named is None or named["code"] is None:
        return None
    return Exit(f"pod {named['pod']}", int(named["code"]))


def reason_of(m: Member) -> Reason:
    if m.reason:
        return m.reason
    return m.exit.reason if m.exit else Reason.CRASHED


def text_of(m: Member | None, *, ended: bool = False) -> str:
    """What it did, and the remedy. ended: nothing starts again by itself."""
    if m is None or m.exit is None:
        return ""
    reason = reason_of(m)
    remedy = _REMEDIES.get(reason, "")
    if reason is Reason.PREEMPTED:
        remedy = _RESUME if ended else _COMES_BACK
    return f"{m.exit}. {remedy}" if remedy else str(m.exit)


def _bad(members: Sequence[Member]) -> list[Member]:
    return [m for m in members if m.phase == "Failed" and m.exit]


def _last_together(bad: Sequence[Member]) -> list[Member]:
    """Of each worker the last pod, less those of an earlier interruption. An exit that no restart
    mends is never over."""
    if final := [m for m in bad if m.exit and m.exit.final]:
        return final
    newest = {m.index: m for m in sorted(bad, key=lambda m: (m.attempt, m.created))}
    last = max(newest.values(), key=lambda m: m.finished, default=None)
    return [m for m in newest.values() if not last or not m.finished or m.finished >= last.created]


def _most_telling(bad: Sequence[Member]) -> Member | None:
    return min(bad, key=lambda m: (_RANK.index(reason_of(m)), m.index), default=None)
