"""Why a group of workers ended, from the exits of its members. Pure."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.backends.processes import exit_text
from launcher.contract import Reason
from launcher.errors import FINAL_WORKER_EXITS, WorkerExit

_REASONS = {
    WorkerExit.BAD_CONFIG: Reason.BAD_CONFIG,
    WorkerExit.BAD_DATA: Reason.BAD_DATA,
    WorkerExit.DIVERGED: Reason.DIVERGED,
    WorkerExit.STORAGE: Reason.STORAGE,
    WorkerExit.PEER_LOST: Reason.PEER_LOST,
    WorkerExit.STOPPED: Reason.PREEMPTED,
    -signal.SIGTERM: Reason.PREEMPTED,  # the same, before the worker could handle it
}

_RANK = (
    Reason.BAD_CONFIG,
    Reason.BAD_DATA,
    Reason.DIVERGED,
    Reason.STORAGE,
    Reason.CRASHED,
    Reason.PREEMPTED,
    Reason.RESIZED,
    Reason.PEER_LOST,
)
"""The cause among several exits, most telling first: a lost peer is what the others see of it."""


@dataclass(frozen=True)
class Exit:
    """How one worker left. `told` is the message it wrote, `last_line` the end of its log."""

    label: str
    code: int
    stopped: bool = False
    """It left because the supervisor had told it to."""
    told: str = ""
    last_line: str = ""
    own: bool = False
    """It says that what it lost its peers by is its own fault: its input, its disk."""
    hung: str = ""
    """What the supervisor saw of a worker that did not leave by itself; empty: it did."""
    resized: str = ""
    """Why the supervisor itself stopped the group, to go on with another number of workers."""

    @property
    def reason(self) -> Reason:
        if self.resized:
            return Reason.RESIZED
        return Reason.PEER_LOST if self.hung else _REASONS.get(self.code, Reason.CRASHED)

    @property
    def doubt(self) -> int:
        """Among lost peers: who knows the cause, who hangs, who only waited for them."""
        return 0 if self.own else 1 if self.hung else 2

    @property
    def final(self) -> bool:
        return self.code in FINAL_WORKER_EXITS and not self.hung

    def __str__(self) -> str:
        if self.resized:
            return self.resized
        if self.hung:
            return f"{self.label} {self.hung}"
        if self.told:
            return f"{self.label}: {self.told}"
        ends = f'; its log ends "{self.last_line}"' if self.last_line else ""
        return f"{self.label} {exit_text(self.code)}{ends}"


@dataclass(frozen=True)
class Verdict:
    cause: Exit

    @property
    def reason(self) -> Reason:
        return self.cause.reason

    @property
    def final(self) -> bool:
        """A restart would end the same way."""
        return self.cause.final

    @property
    def counts(self) -> bool:
        """Against max_restarts. Being preempted or resized is no fault of the run."""
        return self.reason not in (Reason.PREEMPTED, Reason.RESIZED)


def judge(exits: Sequence[Exit]) -> Verdict:
    """`exits` in the order in which the workers left.

    What a worker did after it was told to stop says nothing, unless it names a final fault or it
    had to be stopped because it hung.
    """
    telling = [e for e in exits if e.final or e.hung or (e.code != 0 and not e.stopped)]
    if not telling:
        return Verdict(Exit("the group", WorkerExit.PEER_LOST, hung="ended, and none said why"))
    return Verdict(min(telling, key=lambda e: (_RANK.index(e.reason), e.doubt)))
