"""What says that a run is one of a Kubernetes cluster: the list of runs, the plan in its folder.

Such a run holds no lock, and but for a RayJob it writes no status.json: only its cluster knows
whether it goes on, and it is asked before another backend takes the folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.backends import registry
from launcher.contract import RunPaths
from launcher.storage import read_json

CLUSTER = "kubernetes"


@dataclass(frozen=True)
class Claim:
    """`context` and `namespace` as given: empty is kubectl's choice."""

    context: str
    namespace: str
    listed: bool
    """By the list of runs, so that the other commands find it by its name."""
    undo: str
    """What takes it back when that cluster is gone for good."""


def claims(root: Path) -> list[Claim]:
    """Raises StorageError."""
    found = []
    entry = registry.entry_of(root)
    if entry and entry.backend == CLUSTER:
        where, file = entry.where, registry.entry_file(root.name)
        undo = f"remove {file}"
        found.append(Claim(where.get("context", ""), where.get("namespace", ""), True, undo))
    plan = RunPaths(root).plan
    backend = _section(_section(read_json(plan), "spec"), "backend")
    if backend.get("kind") == CLUSTER:
        given = _section(backend, CLUSTER)
        where = {key: str(given.get(key) or "") for key in ("context", "namespace")}
        undo = f"write local for its backend.kind into {plan}"
        found.append(Claim(where["context"], where["namespace"], False, undo))
    return found


def _section(value: Any, key: str) -> dict[str, Any]:
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}
