"""`launcher dashboard` of runs that no dashboard shows: one line each.

Those of a run whose Ray has really ended, or whose cluster forgot it, are in test_ray_demo.py and
test_ray_cluster_faults.py.
"""

import json
import socket
from pathlib import Path

import pytest

from launcher import load, plan
from launcher.backends.base import RunStatus
from launcher.backends.status import write_status
from launcher.cli.main import run
from launcher.contract import Reason, State
from launcher.render import ray as render

DEMO = Path(__file__).parents[2] / "configs" / "demo.yaml"


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def told(folder: Path, capsys: pytest.CaptureFixture[str], code: int, name: str = "demo") -> str:
    assert run(["dashboard", name, "--run-dir", str(folder)]) == code
    said = capsys.readouterr()
    assert not said.out
    (line,) = said.err.splitlines()
    return line


def a_run(folder: Path, backend: str, address: str | None = None) -> None:
    made = plan(load(DEMO, [f"run_dir={folder}", f"backend.kind={backend}"]))
    made.write(made.root)
    write_status(RunStatus("demo", made.root, State.SUCCEEDED, Reason.SCORED, backend=backend))
    if backend == "ray":
        job = render.job(made, (2,), "demo-0", address)
        (made.root / "ray.json").write_text(json.dumps(job.to_json()))


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_no_such_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "demo" in told(tmp_path, capsys, 2)


def test_a_run_on_another_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(tmp_path, "local")
    assert "runs on the local backend, which has no dashboard" in told(tmp_path, capsys, 2)


def test_the_clusters_dashboard_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"http://127.0.0.1:{closed_port()}"
    a_run(tmp_path, "ray", address)
    line = told(tmp_path, capsys, 5)
    assert address in line
    assert "no Ray cluster answers there" in line


def test_its_own_ray_has_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(tmp_path, "ray")
    assert "was started for the run, and has ended with it" in told(tmp_path, capsys, 2)
