"""Where the runs are: a run_dir, or the list of what was submitted from this account.

The list is one small file a name below $XDG_STATE_HOME/launcher/runs, so that `launcher status
NAME` works from any folder.
"""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from launcher.backends.files import is_run
from launcher.errors import StorageError, UsageError
from launcher.storage import peek_json, write_json

DEFAULT_RUN_DIR = "runs"


def state_dir() -> Path:
    """Of this program, after the XDG base directory specification."""
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "launcher"


@dataclass(frozen=True)
class Entry:
    """A run on the list. `where` is what its backend needs to find it: the address, the namespace;
    empty for a run of this machine, which its folder says all of."""

    root: Path
    backend: str
    where: Mapping[str, str] = field(default_factory=dict)


def remember(name: str, root: Path, backend: str, where: Mapping[str, str] | None = None) -> bool:
    """False when the list cannot be written: the run is found by its run_dir then."""
    value = {"name": name, "root": str(root), "backend": backend, "where": dict(where or {})}
    try:
        write_json(entry_file(name), value)
    except StorageError:
        return False
    return True


def entry_of(root: Path) -> Entry | None:
    """What the list says of the run with this folder."""
    entry = _read(entry_file(root.name))
    return entry if entry and entry.root == root else None


def forget(name: str, root: Path) -> None:
    """Drop the entry of this run, and not that of its namesake elsewhere."""
    if known().get(name) in (root, None):
        with contextlib.suppress(OSError):
            entry_file(name).unlink(missing_ok=True)


def known() -> dict[str, Path]:
    """Name to folder of the runs on the list that are still there.

    The folder of a run elsewhere may be on storage that this machine does not see: it stays on the
    list until it is deleted.
    """
    found = {}
    for path in sorted((state_dir() / "runs").glob("*.json")):
        entry = _read(path)
        if entry and (entry.where or _is_run(entry.root)):
            found[path.stem] = entry.root
    return found


def lookup(name: str, run_dir: Path | None = None) -> Path | None:
    """The run's folder: below `run_dir` when it is given, else below ./runs, else on the list."""
    root = (run_dir or Path(DEFAULT_RUN_DIR)).absolute() / name
    if name and Path(name).name == name and _is_run(root):
        return root
    return None if run_dir else known().get(name)


def find(name: str, run_dir: Path | None = None) -> Path:
    """As `lookup`. Raises UsageError with the nearest known names."""
    if root := lookup(name, run_dir):
        return root
    names = [root.name for root in all_roots(run_dir)]
    near = get_close_matches(name, names, n=3)
    looked = f"in {run_dir}" if run_dir else f"in ./{DEFAULT_RUN_DIR} or on the list of runs"
    remedy = f"Did you mean {' or '.join(near)}?" if near else "`launcher list` shows all runs"
    raise UsageError(f"no such run {looked}", place=name, remedy=remedy)


def all_roots(run_dir: Path | None = None) -> list[Path]:
    """Of all runs below `run_dir`; without one, of those below ./runs and on the list."""
    folder = (run_dir or Path(DEFAULT_RUN_DIR)).absolute()
    try:
        below = [path for path in folder.iterdir() if _is_run(path)]
    except OSError:
        below = []
    listed = [] if run_dir else list(known().values())
    return sorted({*below, *listed}, key=lambda root: (root.name, str(root)))


def _is_run(root: Path) -> bool:
    with contextlib.suppress(OSError):
        return is_run(root)
    return False


def _read(path: Path) -> Entry | None:
    data = peek_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("root"), str):
        return None
    where = data.get("where")
    return Entry(
        Path(data["root"]),
        str(data.get("backend") or ""),
        {str(k): str(v) for k, v in where.items()} if isinstance(where, dict) else {},
    )


def entry_file(name: str) -> Path:
    """Where the list has this name."""
    return state_dir() / "runs" / f"{name}.json"
