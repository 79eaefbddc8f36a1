"""Kueue's kinds, for a cluster that does not have them. Its controller stays out."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.cluster.conftest import kubectl
from tests.cluster.kubelet import until

_MODULE = "sigs.k8s.io/kueue@v0.19.0"
_CRD = "workloads.kueue.x-k8s.io"


def install() -> None:
    """Workload, from Kueue's Go module; skips where that cannot be had."""
    if _CRD in kubectl("get", "crd", "-o", "name"):
        return
    go = shutil.which("go")
    if go is None:
        pytest.skip(f"needs the kind {_CRD}, or Go to fetch {_MODULE}")
    with tempfile.TemporaryDirectory() as empty:  # outside any module
        argv = [go, "mod", "download", "-json", _MODULE]
        done = subprocess.run(argv, cwd=empty, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"needs the kind {_CRD}; {_MODULE} cannot be had: {done.stderr or done.stdout}")
    bases = Path(json.loads(done.stdout)["Dir"]) / "config/components/crd/bases"
    name = f"{_CRD.partition('.')[2]}_{_CRD.partition('.')[0]}.yaml"
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(bases / name))
    until(_is_served)


def _is_served() -> bool:
    status = json.loads(kubectl("get", "crd", _CRD, "-o", "json")).get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or []}
    return conditions.get("Established") == "True"
