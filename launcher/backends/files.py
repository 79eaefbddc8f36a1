"""Files of a run's folder: those that tell it from others, and those that a backend renders."""

from pathlib import Path
from typing import Any

from launcher.contract import RunPaths
from launcher.storage import write_json, write_text


def is_run(root: Path) -> bool:
    paths = RunPaths(root)
    return any(p.is_file() for p in (paths.status, paths.plan, paths.lock))


def with_check(files: dict[str, Any], found: dict[str, Any] | None) -> dict[str, Any]:
    """And what the preflight found, where it looked."""
    return files if found is None else {**files, "check.json": found}


def write_files(root: Path, files: dict[str, Any]) -> None:
    """Text as it is, other values as JSON. Raises StorageError."""
    for name, content in files.items():
        if isinstance(content, str):
            write_text(root / name, content)
        else:
            write_json(root / name, content)
