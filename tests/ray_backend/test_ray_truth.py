"""What is told of a run whose cluster does not answer, from its folder alone."""

import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import load, plan
from launcher.backends import run_folder
from launcher.backends.base import RunStatus
from launcher.backends.files import write_files
from launcher.backends.ray import ending
from launcher.backends.ray.backend import BACKEND
from launcher.backends.ray.channel import Channel, reset_control, stops
from launcher.backends.ray.truth import ray_status
from launcher.backends.status import write_status
from launcher.contract import Reason, RunPaths, State
from launcher.errors import UsageError
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render
from launcher.storage import write_json

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"
NO_PROCESS = 2**22 + 1  # above the kernel's largest pid


def closed_address() -> str:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Of a run of a given cluster that says it is RUNNING, and was written to just now."""
    return written(tmp_path, closed_address())


def written(folder: Path, address: str | None) -> Path:
    made = plan(load(DEMO, [f"run_dir={folder}", "backend.kind=ray"]))
    plans = elastic_plans(made)
    job = render.job(made, tuple(plans), "demo-0", address)
    write_files(made.root, render.files(made, job, plans))
    reset_control(made.root, "demo-0")
    write_status(running(made.root))
    return made.root


def running(root: Path) -> RunStatus:
    now = time.time()
    return RunStatus(
        "demo", root, State.RUNNING, Reason.STARTED, step=7, total_steps=500, backend="ray",
        supervisor_pid=1, submitted=now, updated=now,
    )  # fmt: skip


def age(root: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(RunPaths(root).status, (then, then))


def test_an_unanswering_cluster_is_said_and_the_folder_believed(root: Path) -> None:
    now = ray_status(root)
    assert (now.state, now.step) == (State.RUNNING, 7)
    assert "the cluster does not answer" in now.message
    assert "Connection refused" in now.message


def test_no_run_is_running_for_ever(root: Path) -> None:
    age(root, 61)
    now = ray_status(root)
    assert (now.state, now.reason) == (State.FAILED, Reason.SUPERVISOR_LOST)
    assert "submit SPEC --resume" in now.message
    assert "has written nothing for" in now.message


def test_an_ended_run_asks_no_cluster(root: Path) -> None:
    write_status(replace(running(root), state=State.SUCCEEDED, reason=Reason.SCORED))
    age(root, 10_000)
    now = ray_status(root)
    assert (now.state, now.message) == (State.SUCCEEDED, "")


def test_its_own_ray_that_is_gone(tmp_path: Path) -> None:
    root = written(tmp_path, None)
    head = {"pid": NO_PROCESS, "host": socket.gethostname(), "address": closed_address()}
    write_json(Channel(root).head, head)
    assert ray_status(root).reason is Reason.SUPERVISOR_LOST


def test_its_own_ray_on_another_machine(tmp_path: Path) -> None:
    root = written(tmp_path, None)
    write_json(Channel(root).head, {"pid": 1, "host": "elsewhere", "address": closed_address()})
    now = ray_status(root)
    assert now.state is State.RUNNING
    assert "on another machine" in now.message
    age(root, 61)
    assert ray_status(root).state is State.FAILED


@pytest.mark.parametrize("option", [{}, {"resume": True}, {"replace": True}])
def test_a_running_name_is_refused_by_every_backend(root: Path, option: dict[str, bool]) -> None:
    choices = {"resume": False, "replace": False, **option}
    with pytest.raises(UsageError, match="is already running: RUNNING at step 7"):
        run_folder.check_name(root, **choices)
    with pytest.raises(UsageError, match="is already running"):
        BACKEND.delete(root)


def test_delete_and_cancel_of_an_ended_run(root: Path) -> None:
    write_status(replace(running(root), state=State.FAILED, reason=Reason.CRASHED))
    assert BACKEND.cancel(root) is False
    assert BACKEND.delete(root) is True
    assert not root.exists()
    assert BACKEND.delete(root) is False


def test_cancel_asks_by_the_control_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that obeys: here, whoever reads the file."""
    asked: list[int | None] = []

    def ends(root: Path, seconds: float) -> bool:
        asked.append(stops(root, "demo-0"))
        write_status(replace(running(root), state=State.CANCELLED, reason=Reason.CANCELLED))
        return True

    monkeypatch.setattr(ending, "_ends", ends)
    assert BACKEND.cancel(root) is True
    assert asked[0] == 1
    assert stops(root, "another") is None, "a later submission of the name is not meant"
