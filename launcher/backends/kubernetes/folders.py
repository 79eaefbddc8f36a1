"""The files of a run on a cluster, as far as this machine sees them.

run_dir is a volume of the pods. Where it is mounted here too, at the same path, the run's folder is
the run's folder. Elsewhere a copy stands for it, below $XDG_STATE_HOME/launcher/kubernetes: the
plan from the ConfigMap, and the logs that the API server gives.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from launcher.backends import registry
from launcher.backends.kubernetes.connection import Place
from launcher.backends.kubernetes.groups import kind_of
from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.storage import write_json, write_text


def folder_of(place: Place, root: Path) -> Path:
    """Where this machine has the files of the run whose pods have them in `root`."""
    return root if is_here(root) else _copies() / _safe(place) / root.name


def is_here(root: Path) -> bool:
    with suppress(OSError):
        return root.parent.is_dir()
    return False


def is_copy(root: Path) -> bool:
    return root.is_relative_to(_copies())


def keep_plan(root: Path, files: Mapping[str, str]) -> None:
    """Into a copy; a folder that the pods have is theirs to write. A full disk is no error: the
    plan is on the cluster."""
    if not is_copy(root):
        return
    with suppress(StorageError):
        for name, text in files.items():
            write_text(root / name, text)


def keep_check(root: Path, found: Mapping[str, Any] | None) -> None:
    """What the preflight found, of a run that has started: it goes on without this file."""
    if found is not None:
        with suppress(StorageError):
            write_json(RunPaths(root).check, found)


def remove_copy(root: Path) -> None:
    if is_copy(root):
        shutil.rmtree(root, ignore_errors=True)


def elsewhere(root: Path, plan: Mapping[str, Any]) -> str:
    """What to do about files that the pods have and this machine does not; empty: it has them."""
    if not is_copy(root):
        return ""
    scores = RunPaths(Path(str(plan.get("root") or root.name))).eval_metrics
    place = f"{scores.parent.parent} on a volume that is not mounted here"
    if kind_of(plan) == "rayjob":
        return f"all scores, pictures, logs and checkpoints are in {place}: Ray's pods print none"
    return (
        f"all twelve numbers, pictures and checkpoints are in {place}; mAP and AP50 are what the "
        "evaluator has printed"
    )


def _copies() -> Path:
    return registry.state_dir() / "kubernetes"


def _safe(place: Place) -> Path:
    """A context's name may hold anything: `arn:aws:eks:...:cluster/x`."""
    return Path("".join(c if c.isalnum() or c in "-_." else "_" for c in place.context) or "_") / (
        place.namespace
    )
