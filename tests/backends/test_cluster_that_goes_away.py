"""Who follows a run goes on when its cluster does not answer for a while."""

import time
from pathlib import Path
from typing import cast

import pytest

from launcher.backends import base
from launcher.backends.base import Backend, JobHandle, RunStatus
from launcher.cli import follow
from launcher.contract import Reason, State
from launcher.errors import UnreachableError

RUNS = RunStatus("d0", Path("d0"), State.RUNNING, Reason.STARTED)
ENDED = RunStatus("d0", Path("d0"), State.SUCCEEDED, Reason.SCORED)


class Cluster:
    """Says the next of `told` at each look, and the last one for ever; None: no answer."""

    def __init__(self, *told: RunStatus | None) -> None:
        self.told = list(told)

    def status(self, root: Path) -> RunStatus:
        status = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if status is None:
            raise UnreachableError(
                "the API server does not answer (Connection refused)", place="https://c:6443"
            )
        return status


def handle_of(*told: RunStatus | None) -> JobHandle:
    return JobHandle("d0", Path("d0"), cast("Backend", Cluster(*told)))


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(follow, "_POLL_SECONDS", 0.01)


def test_it_is_told_once_and_asked_again(capsys: pytest.CaptureFixture[str]) -> None:
    handle = handle_of(RUNS, None, None, None, RUNS, ENDED)
    assert follow.run(lambda: handle, show=False) == ENDED
    assert capsys.readouterr().err.splitlines() == [
        "https://c:6443: the API server does not answer (Connection refused); d0 goes on, and is "
        "asked for again, for 15 minutes at most"
    ]
    assert handle_of(RUNS, None, None, ENDED).wait() == ENDED


def test_one_that_has_never_answered_is_unreachable_at_once() -> None:
    with pytest.raises(UnreachableError):
        handle_of(None).wait()


def test_it_is_not_asked_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(base, "UNREACHABLE_SECONDS", 0.3)
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        follow.run(lambda: handle_of(RUNS, None), show=False)
    assert time.monotonic() - began >= 0.3
    assert capsys.readouterr().err.splitlines()[1:] == ["d0 is left as it is: `launcher status d0`"]


def test_a_bound_of_the_callers_own_is_kept() -> None:
    with pytest.raises(UnreachableError):
        handle_of(RUNS, None).wait(timeout=0.1)
