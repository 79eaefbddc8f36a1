"""`python -m launcher.pod` as in containers: real processes, a mounted plan, a shared folder."""

import os
import subprocess
import sys
import time
from pathlib import Path

import launcher
from launcher.planning import Plan

ROOT = Path(__file__).resolve().parents[2]


def plan_of(run_dir: Path, *overrides: str) -> Plan:
    spec = launcher.load(ROOT / "configs" / "demo.yaml", [f"run_dir={run_dir}", *overrides])
    return launcher.plan(spec)


def mount(plan: Plan, folder: Path) -> Path:
    """As a ConfigMap is mounted: links to a folder of the kubelet's."""
    plan.write(folder / "..data")
    for file in (folder / "..data").iterdir():
        (folder / file.name).symlink_to(Path("..data") / file.name)
    return folder


def start(role: str, plan: Plan, plans: Path, **env: str) -> "subprocess.Popen[str]":
    inherited = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher.pod", role, str(plan.root)],
        env={**inherited, "LAUNCHER_PLAN_DIR": str(plans), "TF_CPP_MIN_LOG_LEVEL": "2", **env},
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started.append(process)
    return process


started: "list[subprocess.Popen[str]]" = []


def end(process: "subprocess.Popen[str]", seconds: float = 60) -> tuple[int, str]:
    _, log = process.communicate(timeout=seconds)
    return process.returncode, log


def child_of(pid: int) -> int:
    """The first child of a process, as soon as there is one."""
    deadline = time.monotonic() + 30
    while not (found := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return int(found[0])
