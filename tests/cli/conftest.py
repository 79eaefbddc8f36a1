"""The command line as a user runs it: processes, with a home and a folder of their own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.cli import main

Launcher = Callable[..., "subprocess.CompletedProcess[str]"]

SCRIPTED = """
# `launcher` with a plan whose workers and evaluator are the scripts in $SCRIPTS.
import os, sys, pathlib
from launcher import planning

real = planning.make_plan

def make_plan(spec):
    plan = real(spec)
    scripts = pathlib.Path(os.environ["SCRIPTS"])
    roles = tuple(
        role.model_copy(update={
            "argv": (str(scripts / f"{role.name}.py"), str(plan.root)),
            "env": {"RUN_MARK": str(scripts)},
        })
        for role in plan.roles
    )
    return plan.model_copy(update={"roles": roles})

planning.make_plan = make_plan
from launcher.cli.main import main
main()
"""

PRELUDE = """
import json, os, pathlib, signal, sys, time
root = pathlib.Path(sys.argv[1])
attempt = int(os.environ["LAUNCHER_ATTEMPT"])
index = json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": 0}}'))["task"]["index"]
total = json.loads((root / "plan.json").read_text())["total_steps"]

def write(path, value):
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(value))
    temporary.replace(path)

def beat(step):
    write(root / "progress" / f"worker-{index}.json", {
        "step": step, "total_steps": total, "attempt": attempt, "images_per_second": 64.0,
        "loss": 0.75, "learning_rate": 0.05})

def fail(code, message, role="worker"):
    write(root / "progress" / f"{role}-{index}.failure.json", {"exit": code, "message": message})
    sys.exit(code)

def score(step, points):
    path = root / "metrics" / "eval.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"step": step, "mAP": points / 100, "AP50": points / 60}) + "\\n")

def on_term(code):
    signal.signal(signal.SIGTERM, lambda *a: ((root / f"saved-by-{index}").touch(), os._exit(code)))

def forever():
    (root / f"ready-{index}").touch()
    while True:
        time.sleep(0.02)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("LAUNCHER_", "COLUMNS"))}
    return {
        **kept,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "SCRIPTS": str(tmp_path / "scripts"),
        "NO_COLOR": "1",
    }


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The current directory of the commands."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def launcher(env: dict[str, str], work: Path) -> Launcher:
    """`launcher("status", "demo", cwd=...)`: the real command."""

    def run(*args: str, cwd: Path = work, **more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "launcher", *args],
            cwd=cwd,
            env={**env, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture
def inside(
    env: dict[str, str],
    work: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Launcher:
    """The same in this process, for commands that only look: a tenth of the time."""

    def run(*args: str, cwd: Path = work) -> "subprocess.CompletedProcess[str]":
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("XDG_STATE_HOME", env["XDG_STATE_HOME"])
        monkeypatch.delenv("LAUNCHER_RUN_DIR", raising=False)
        capsys.readouterr()
        code = main.run(args)
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(args, code, out, err)

    return run


@pytest.fixture
def scripts(tmp_path: Path) -> Callable[[str, str], None]:
    """Set the code of worker and evaluator."""
    folder = tmp_path / "scripts"
    folder.mkdir()

    def write(worker: str, evaluator: str) -> None:
        (folder / "worker.py").write_text(PRELUDE + worker)
        (folder / "evaluator.py").write_text(PRELUDE + evaluator)

    return write


@pytest.fixture
def spec_file(work: Path) -> Path:
    path = work / "demo.yaml"
    path.write_text(
        """
name: demo
recipe: ssd_mobilenet_v2_fpnlite_320
data: {synthetic: {train_images: 8, val_images: 2}}
batch: {per_replica_batch: 64}
cluster: {workers: 2}
evaluate: {target_map: 35}
"""
    )
    return path


@pytest.fixture
def submit_argv() -> list[str]:
    """`launcher submit demo.yaml` with scripts for workers; more options can be added."""
    return [sys.executable, "-c", SCRIPTED, "submit", "demo.yaml"]


def left_over(scripts: Path) -> list[int]:
    """The pids of workers and evaluators that were started from this folder."""
    mark = f"RUN_MARK={scripts}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
