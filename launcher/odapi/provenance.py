"""From what and with what a process computes: records, packages, source, machine. No TensorFlow."""

import hashlib
import os
import platform
import time
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from launcher.contract import ENV_ATTEMPT, RunPaths
from launcher.records.fingerprint import Fingerprint
from launcher.storage import append_jsonl

DISTRIBUTIONS = (
    ("launcher",),
    ("tensorflow", "tensorflow-cpu"),
    ("tf-keras",),
    ("tf-models-research-object-detection",),
    ("tf-models-official",),
    ("numpy",),
    ("protobuf",),
    ("opencv-python-headless",),
    ("pillow",),
    ("pycocotools",),
    ("hotcoco",),
)
"""What changes a number when it changes; each by the names that one and the same goes by."""


def record(paths: RunPaths, role: str, data: Fingerprint, accelerators: Sequence[str] = ()) -> None:
    """One line of provenance.jsonl, for this start of a process. Raises StorageError."""
    row = {
        "role": role,
        "attempt": int(os.environ.get(ENV_ATTEMPT) or 0),
        "time": time.time(),
        "versions": versions(),
        "machine": machine(accelerators),
        "data": data.to_json(),
    }
    append_jsonl(paths.provenance, row)


def versions() -> dict[str, str]:
    """By name, `launcher source` and `python` included; what is not installed is left out."""
    found = {"python": platform.python_version()}
    for names in DISTRIBUTIONS:
        for name in names:
            try:
                found[names[0]] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found | {"launcher source": source_digest()}


def machine(accelerators: Sequence[str] = ()) -> dict[str, Any]:
    """`accelerators` as TensorFlow names them; the rest is the system's word."""
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerators": list(accelerators),
    }


@cache
def source_digest() -> str:
    """SHA-256 over the Python files of this package, 12 digits: the version number stays the same
    between two commits, and this does not."""
    total = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:12]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
