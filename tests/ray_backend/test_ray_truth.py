"""What is told of a run whose cluster does not answer, from its folder alone."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher import load, plan
from launcher.backends import run_folder
from launcher.backends.base import RunStatus
from launcher.backends.files import write_files
from launcher.backends.kubernetes.connection import Place
from launcher.backends.ray import ending
from launcher.backends.ray.backend import BACKEND
from launcher.backends.ray.channel import Channel, reset_control, stops
from launcher.backends.ray.evaluator_job import note_lost_driver
from launcher.backends.ray.rest import Dashboard
from launcher.backends.ray.truth import ray_status
from launcher.backends.status import read_status, write_status
from launcher.cli.main import run
from launcher.contract import Reason, RunPaths, State
from launcher.errors import UsageError
from launcher.planning.elastic import elastic_plans
from launcher.render import ray as render
from launcher.storage import write_json
from tests.ray_backend.test_ray_rest import Fails, server

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
    with pytest.raises(UsageError, match="is already running: RUNNING at step 7"):
        run_folder.check_free(root, Place())  # a cluster
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


# A dashboard that answers every question with HTTP 500: no command ends in a traceback.


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with server(Fails) as address:
        yield written(tmp_path / "runs", address)


def said(
    root: Path, capsys: pytest.CaptureFixture[str], *command: str, code: int = 0
) -> tuple[str, str]:
    assert run([*command, "--run-dir", str(root.parent)]) == code
    out, err = capsys.readouterr()
    return out, err


def test_status_and_list_believe_the_folder(
    failing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, err = said(failing, capsys, "status", "demo")
    assert "RUNNING" in out
    assert "answers with an error (HTTP 500: RuntimeError: no agent)" in out
    assert not err
    out, err = said(failing, capsys, "list")
    assert "RUNNING" in out
    assert not err


def test_dashboard_tells_the_error(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = said(failing, capsys, "dashboard", "demo", code=5)
    assert not out
    assert err.count("\n") == 1
    assert "HTTP 500: RuntimeError: no agent" in err


def test_logs_go_on_to_the_end_of_the_run(
    failing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = RunPaths(failing).worker_log(0, 0)
    log.parent.mkdir(parents=True)
    log.write_text("step 7\n")
    last = replace(running(failing), state=State.SUCCEEDED, reason=Reason.SCORED)
    end = threading.Timer(1.0, write_status, [last])
    end.start()
    out, err = said(failing, capsys, "logs", "demo", "-f")
    end.join()
    assert "step 7" in out
    assert err == "demo: SUCCEEDED (scored)\n"


def test_cancel_reaches_a_driver_that_obeys(
    failing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def obey() -> None:
        while not stops(failing, "demo-0"):
            time.sleep(0.05)
        write_status(replace(running(failing), state=State.CANCELLED, reason=Reason.CANCELLED))

    driver = threading.Thread(target=obey, daemon=True)
    driver.start()
    out, _ = said(failing, capsys, "cancel", "demo")
    driver.join(10)
    assert "CANCELLED" in out
    out, err = said(failing, capsys, "delete", "demo")
    assert "deleted" in out
    assert not err
    assert not failing.exists()


def test_the_evaluators_job_goes_on(failing: Path) -> None:
    job = render.RayJob.read(failing / render.JOB_FILE)
    note_lost_driver(job, Dashboard(job.address))
    status = read_status(failing)
    assert status is not None
    assert status.state is State.RUNNING, "an error says nothing about the driver"
