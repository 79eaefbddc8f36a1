"""Kueue's kinds, for a simulated cluster that does not have them. Its controller stays out."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import is_simulated, kubectl
from tests.cluster.kubelet import until

_MODULE = "sigs.k8s.io/kueue@v0.19.0"
_GROUP = "kueue.x-k8s.io"


def install(core: Any, *names: str) -> None:
    """From Kueue's Go module; skips where they cannot be had, and on a cluster of somebody's own.
    They stay: other tests, in other processes, may use them at the same time."""
    there = kubectl("get", "crd", "-o", "name")
    missing = [name for name in names if f"/{name}.{_GROUP}\n" not in there]
    if missing:
        if not is_simulated(core):
            pytest.skip("needs Kueue")
        bases = _module() / "config" / "components" / "crd" / "bases"
        files = [f"--filename={bases / f'{_GROUP}_{name}.yaml'}" for name in missing]
        kubectl("apply", "--server-side", "--force-conflicts", *files)
    until(lambda: all(map(_is_served, names)))


def _module() -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"needs the kinds of Kueue, or Go to fetch {_MODULE}")
    with tempfile.TemporaryDirectory() as empty:  # outside any module
        argv = [go, "mod", "download", "-json", _MODULE]
        done = subprocess.run(argv, cwd=empty, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the kinds of Kueue; {_MODULE}: {done.stderr or done.stdout}")
    return Path(json.loads(done.stdout)["Dir"])


def _is_served(name: str) -> bool:
    crd = json.loads(kubectl("get", "crd", f"{name}.{_GROUP}", "-o", "json"))
    conditions = (crd.get("status") or {}).get("conditions") or []
    return {c["type"]: c["status"] for c in conditions}.get("Established") == "True"
