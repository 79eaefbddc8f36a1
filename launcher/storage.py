"""Files that are there whole or not at all: text, JSON, lines of JSON. Standard library only."""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.errors import StorageError, write_remedy


def write_text(path: Path, text: str) -> None:
    """Atomically: a reader sees the old file or the new one, never a part.

    Raises StorageError when the disk is full or the place cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "w") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as e:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise storage_error(e, path) from e


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """The value, or None when there is no such file yet or it is torn."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def append_jsonl(path: Path, value: Mapping[str, Any]) -> None:
    """One line in one write, so that a reader never sees half of a line before another."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(json.dumps(value) + "\n")
    except OSError as e:
        raise storage_error(e, path) from e


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All whole lines; a torn last line, as a killed writer leaves it, is passed over."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def storage_error(error: OSError, path: Path) -> StorageError:
    """The one message for anything that cannot be written."""
    return StorageError(
        f"cannot write ({error.strerror or error})",
        place=str(path),
        remedy=write_remedy(error, "choose another place with run_dir"),
    )
