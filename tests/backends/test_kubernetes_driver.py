"""A RayJob's driver: its verdict as Ray and KubeRay hand it on, and in the run's folder."""

import contextlib
import io
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from launcher.backends.base import RunStatus
from launcher.backends.kubernetes import driver, folders
from launcher.backends.kubernetes.groups import Group, group
from launcher.backends.kubernetes.state import Judgement, judge
from launcher.backends.status import write_status
from launcher.backends.supervising import Supervisor
from launcher.contract import Reason, State
from tests.backends.kubernetes_pods import pod, seen

RAY = "Job entrypoint command failed with exit code {}, last available logs (truncated to 20,000 chars):\n{}"  # noqa: E501


def ended(message: str, driver: str = "FAILED", **more: str) -> Judgement:
    status = {"jobStatus": driver, "jobDeploymentStatus": "Complete", "message": message, **more}
    workers = group({"kind": "RayJob", "spec": {}, "status": status})
    return judge(seen(pod(0), pod(1), workers=workers, evaluator=None, has_evaluator=False))


def last_words(state: State, reason: Reason, message: str) -> str:
    """What a supervisor writes when it ends a run."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        told: Any = SimpleNamespace(_set=lambda *_: None, _unwritten=None)
        Supervisor._end(told, state, reason, message)
    return said.getvalue()


@pytest.mark.parametrize(
    "reason",
    [
        Reason.BAD_CONFIG, Reason.BAD_DATA, Reason.DIVERGED, Reason.STORAGE, Reason.PEER_LOST,
        Reason.EVALUATION_FAILED,
    ],
)  # fmt: skip
def test_verdict_is_read_from_the_jobs_message(reason: Reason) -> None:
    log = (
        "2026-11-24 21:00:01 FAILED (crashed): a line of before\n"
        "12:00:00 step 7: loss 3.2\n"
        + last_words(State.FAILED, reason, "worker-0: /data/a: record 7 (of 9): bad. Mend it")
        + "(pid=77) some warning of Ray\n"
    )
    said = ended(RAY.format(1, log), reason="AppFailed")
    assert (said.state, said.reason) == (State.FAILED, reason)
    assert said.message == "worker-0: /data/a: record 7 (of 9): bad. Mend it"


def test_cancelled_and_stopped() -> None:
    said = ended(RAY.format(1, last_words(State.CANCELLED, Reason.CANCELLED, "")))
    assert (said.state, said.reason) == (State.CANCELLED, Reason.CANCELLED)
    said = ended("Job was intentionally stopped.", driver="STOPPED")
    assert (said.state, said.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert "--resume` continues it" in said.message


def test_driver_that_did_not_begin() -> None:
    """launcher.pod leaves with a code of its own before the driver is there."""
    log = "21:00:01 error: /mnt/runs: cannot be written (Read-only file system). Mount it\n"
    said = ended(RAY.format(74, log))
    assert (said.state, said.reason) == (State.FAILED, Reason.STORAGE)
    assert said.message.startswith("the driver: /mnt/runs: cannot be written (Read-only file")


@pytest.mark.parametrize(
    "message",
    ["", RAY.format(1, "Traceback ...\nKeyError: 'x'"), "2026-11-24 21:00:01 FAILED (no-such): x"],
)
def test_no_word_of_the_driver(message: str) -> None:
    said = ended(message, reason="AppFailed")
    assert (said.state, said.reason) == (State.FAILED, Reason.CRASHED)
    assert said.message.startswith("AppFailed")
    assert "\n" not in said.message


def test_deadline() -> None:
    said = ended("The RayJob has passed the activeDeadlineSeconds.", "", reason="DeadlineExceeded",
                 jobDeploymentStatus="Failed")  # fmt: skip
    assert said.reason is Reason.DEADLINE_EXCEEDED


CREATED = 1_800_000_000.0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "d0"


def written(root: Path, state: State, reason: Reason, message: str, **more: Any) -> None:
    root.mkdir(exist_ok=True)
    given = {"submitted": CREATED + 40, "updated": time.time(), "attempt": 3, "restarts": 2}
    write_status(RunStatus("d0", root, state, reason, message, **{**given, **more}))


def told(root: Path, state: State, reason: Reason, message: str = "") -> tuple[Any, ...]:
    status = RunStatus("d0", root, state, reason, message, backend="kubernetes")
    found = driver.with_written(status, root, CREATED)
    assert found == replace(
        found, name="d0", root=root, backend="kubernetes", submitted=None, step=0
    )
    return found.state, found.reason, found.message, found.attempt, found.restarts


def test_status_file_says_more_than_the_object(root: Path) -> None:
    written(root, State.FAILED, Reason.DIVERGED, "worker-1: the loss is nan")
    expected = (State.FAILED, Reason.DIVERGED, "worker-1: the loss is nan", 3, 2)
    assert told(root, State.FAILED, Reason.CRASHED, "AppFailed: ") == expected
    assert told(root, State.RUNNING, Reason.STARTED) == expected  # KubeRay asks every few seconds
    written(root, State.RESTARTING, Reason.PEER_LOST, "worker-1 left with exit code 75")
    assert told(root, State.RUNNING, Reason.STARTED)[:2] == (State.RESTARTING, Reason.PEER_LOST)
    written(root, State.EVALUATING, Reason.TRAINED, "")
    assert told(root, State.RUNNING, Reason.STARTED)[0] is State.EVALUATING


def test_status_file_of_an_earlier_submit_says_nothing(root: Path) -> None:
    written(root, State.FAILED, Reason.DIVERGED, "of before", submitted=CREATED - 3600)
    assert told(root, State.PENDING, Reason.SUBMITTED) == (
        State.PENDING, Reason.SUBMITTED, "", 0, 0
    )  # fmt: skip


def test_status_file_of_a_driver_that_is_gone(root: Path) -> None:
    written(root, State.RUNNING, Reason.STARTED, "")
    assert told(root, State.FAILED, Reason.CRASHED, "its head")[:3] == (
        State.FAILED, Reason.CRASHED, "its head"
    )  # fmt: skip


def test_what_only_the_cluster_knows(root: Path) -> None:
    written(root, State.PENDING, Reason.SUBMITTED, "")
    quota = (State.PENDING, Reason.QUOTA, "raycluster d0: exceeded quota")
    assert told(root, *quota)[:3] == quota
    written(root, State.RUNNING, Reason.STARTED, "")
    queued = (State.PENDING, Reason.QUEUED, "waits for the queue")
    assert told(root, *queued)[:3] == queued


def test_where_the_scores_of_a_rayjob_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    copy = tmp_path / "launcher" / "kubernetes" / "c" / "n" / "d0"
    spec = {"backend": {"kubernetes": {"kind": "rayjob"}}}
    text = folders.elsewhere(copy, {"root": "/mnt/runs/d0", "spec": spec})
    assert "all scores, pictures, logs and checkpoints are in /mnt/runs/d0" in text
    assert "AP50" in folders.elsewhere(copy, {"root": "/mnt/runs/d0"})


def test_success_needs_no_word() -> None:
    assert ended("Job finished successfully.", "SUCCEEDED").state is State.SUCCEEDED
    assert Group().succeeded is None
