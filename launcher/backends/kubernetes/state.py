"""What the objects and pods of a run say about it: state, reason, evidence. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.backends.kubernetes import causes, driver
from launcher.backends.kubernetes.groups import DEADLINE_EXCEEDED, STOPPED, Group
from launcher.backends.kubernetes.members import Member
from launcher.backends.kubernetes.waiting import Wait, queue_wait, wait_of
from launcher.contract import Reason, State
from launcher.render.kubernetes import names as wire

Json = Mapping[str, Any]

CANCELLED_NOTE = "launcher/cancelled"
"""Annotation of the ConfigMap: when `cancel` was asked for."""


@dataclass(frozen=True)
class Seen:
    """All that was read of a run. `workers`, `evaluator`: None where there is no such object."""

    count: int
    """Workers of the plan."""
    queue: str
    has_evaluator: bool
    cancelled: bool
    workers: Group | None
    evaluator: Group | None
    members: tuple[Member, ...] = ()
    events: tuple[Json, ...] = field(default=(), repr=False)
    workloads: tuple[Json, ...] | None = None
    objects: tuple[str, ...] = ()
    """Names whose events count."""
    scored: bool | None = None
    """This machine has the score of the last step; None: it does not see the run's files."""
    settled: bool = True
    """It would see by now what an evaluator that has ended has written."""

    def of(self, role: str) -> list[Member]:
        return [m for m in self.members if m.role == role]


@dataclass(frozen=True)
class Judgement:
    state: State
    reason: Reason
    message: str = ""
    attempt: int = 0
    restarts: int = 0


def judge(seen: Seen) -> Judgement:
    workers = seen.of(wire.WORKER)
    attempt = max((m.attempt for m in workers), default=0)
    restarts = max((m.failures for m in workers), default=0)
    if seen.workers:
        attempt = max(attempt, seen.workers.starts)
        restarts = max(restarts, seen.workers.restarts)
    return replace(_judge(seen, workers, attempt), attempt=attempt, restarts=restarts)


def _judge(seen: Seen, workers: list[Member], attempt: int) -> Judgement:
    if seen.cancelled:
        return _cancelled(seen)
    if seen.workers and seen.workers.succeeded is False:
        return _failed(seen.workers, workers)
    if seen.workers and seen.workers.succeeded:
        return _trained(seen)
    if seen.workers is None or (seen.has_evaluator and seen.evaluator is None):
        missing = "workers" if seen.workers is None else "evaluator"
        return Judgement(
            State.PENDING,
            Reason.SUBMITTED,
            f"a submit was interrupted before the {missing} were made; "
            "`launcher submit SPEC` again completes it, `launcher delete` removes it",
        )
    if seen.workers.suspended:
        wait = queue_wait(seen.queue, seen.workloads) if seen.queue else _SUSPENDED
        return Judgement(State.PENDING, wait.reason, wait.message)
    said = _under_way(seen, workers, again=bool(attempt) or seen.workers.restarting)
    return replace(said, message="; ".join(filter(None, [said.message, _unscored(seen)])))


_SUSPENDED = Wait(
    Reason.QUEUED,
    "is suspended, and no queue of this spec did it: `kubectl patch` spec.suspend to false",
)


def _under_way(seen: Seen, workers: list[Member], *, again: bool) -> Judgement:
    newest = _newest(workers)
    running = sum(m.running for m in newest)
    done = sum(m.phase == "Succeeded" for m in newest)
    if running + done >= seen.count:
        return Judgement(State.RUNNING, Reason.STARTED, _evaluator_wait(seen))
    wait = wait_of(newest, seen.events, seen.objects)
    lost = causes.of_restart(workers)
    if lost or again:
        reason, why = _seen_of(lost) if lost else _unseen(seen, workers)
        told = [
            why,
            wait.message if wait else "",
            f"{running + done} of {seen.count} workers are back",
        ]
        return Judgement(State.RESTARTING, reason, "; ".join(filter(None, told)))
    if wait:
        return Judgement(State.PENDING, wait.reason, wait.message)
    message = f"{running + done} of {seen.count} workers run"
    return Judgement(State.PENDING, Reason.SUBMITTED, message if newest else "")


def _seen_of(lost: Member) -> tuple[Reason, str]:
    return causes.reason_of(lost), causes.text_of(lost)


def _unseen(seen: Seen, workers: list[Member]) -> tuple[Reason, str]:
    """Of an interruption whose pods are gone. Where nothing was counted, one had to make room."""
    group = seen.workers or Group()
    counted = group.restarts or any(m.failures for m in workers)
    if counted or not (group.starts or any(m.attempt for m in workers)):
        return Reason.PEER_LOST, ""
    return Reason.PREEMPTED, "a worker had to leave its node, which does not count; its pod is gone"


def _failed(group: Group, workers: list[Member]) -> Judgement:
    if group.reason == DEADLINE_EXCEEDED:
        return Judgement(
            State.FAILED,
            Reason.DEADLINE_EXCEEDED,
            f"{group.message or 'the run was longer than it may be'}. Raise "
            "backend.kubernetes.max_hours; `launcher submit SPEC --resume` continues it",
        )
    if told := driver.verdict(group.message):
        state, reason, message = told
        return Judgement(state, reason, message or f"its driver has ended: {reason}")
    if group.reason == STOPPED:
        return Judgement(State.CANCELLED, Reason.CANCELLED, _STOPPED)
    if cause := causes.of_end(workers, group.message):
        text = f"{causes.text_of(cause, ended=True)} ({group.reason})"
        return Judgement(State.FAILED, causes.reason_of(cause), text)
    gone = causes.exit_in(group.message)
    reason = gone.reason if gone else Reason.CRASHED
    text = " ".join(f"{group.reason}: {group.message}".split())
    return Judgement(State.FAILED, reason, text.strip(": "))


_STOPPED = (
    "its job was stopped with Ray's own means; `launcher submit SPEC --resume` continues it from "
    "the last checkpoint"
)


def _unscored(seen: Seen) -> str:
    """That training goes on without an evaluator; empty: it has one, or its last step is scored."""
    evaluator = seen.evaluator
    if evaluator is None or evaluator.succeeded is None or seen.scored:
        return ""
    why = "its Job is complete" if evaluator.succeeded else _why_failed(seen, evaluator)
    return f"the evaluator has ended and training goes on: {why.rstrip('.')}. {_SCORE_THEN}"


_SCORE = "`launcher submit SPEC --resume` scores it"
_SCORE_THEN = (
    "When training is complete, `launcher submit SPEC --resume` scores the last checkpoint"
)


def _trained(seen: Seen) -> Judgement:
    """The workers have ended well: it is the evaluator's turn."""
    evaluator = seen.evaluator
    if not seen.has_evaluator:
        return Judgement(State.SUCCEEDED, Reason.SCORED)
    if evaluator is None:
        if seen.scored:
            return Judgement(State.SUCCEEDED, Reason.SCORED)
        return _not_scored(
            "the training is complete, and the Job of its evaluator is gone, with no score of the "
            "last step here"
        )
    if evaluator.succeeded is False:
        return _not_scored(f"the training is complete; {_why_failed(seen, evaluator)}")
    if evaluator.succeeded and seen.scored is not False:  # it leaves with 0 when that is scored
        return Judgement(State.SUCCEEDED, Reason.SCORED)
    if evaluator.succeeded and seen.settled:
        return _not_scored(
            "the training is complete; the evaluator has left with 0, and metrics/eval.jsonl has "
            "no score of the last step"
        )
    return Judgement(State.EVALUATING, Reason.TRAINED, _evaluator_wait(seen))


def _not_scored(why: str) -> Judgement:
    return Judgement(State.FAILED, Reason.EVALUATION_FAILED, f"{why.rstrip('.')}. {_SCORE}")


def _why_failed(seen: Seen, evaluator: Group) -> str:
    cause = causes.of_end(seen.of(wire.EVALUATOR), evaluator.message)
    told = causes.text_of(cause, ended=True)
    return told or f"{evaluator.reason}: {evaluator.message}".strip(": ")


def _evaluator_wait(seen: Seen) -> str:
    """Why the evaluator does not start; empty: it runs, has ended, or nothing is known."""
    if seen.evaluator and seen.evaluator.succeeded is not None:
        return ""
    wait = wait_of(_newest(seen.of(wire.EVALUATOR)), seen.events, seen.objects)
    return wait.message if wait else ""


def _cancelled(seen: Seen) -> Judgement:
    left = [m for m in seen.members if not m.ended]
    if left:
        message = f"stopping: {len(left)} pods still save and leave"
        return Judgement(State.RUNNING, Reason.CANCELLED, message)
    return Judgement(State.CANCELLED, Reason.CANCELLED)


def _newest(members: Sequence[Member]) -> list[Member]:
    """Of each place the pod that holds it now."""
    held: dict[int, Member] = {}
    for m in sorted(members, key=lambda m: (m.attempt, m.created, not m.leaving)):
        held[m.index] = m
    return [held[index] for index in sorted(held)]
