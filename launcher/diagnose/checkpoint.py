"""The checkpoint that a user names, found by its folder, and what is seen of it without TensorFlow.

A tarball of the model zoo and an export have `checkpoint/ckpt-0`, a run `checkpoints/ckpt-N`.
"""

import re
from pathlib import Path

from launcher.errors import UsageError
from launcher.preflight.weights import read_weights
from launcher.spec.fields import is_url

_FOLDERS = (".", "checkpoint", "checkpoints")
_PLACE = "--checkpoint"
_STEP = re.compile(r"ckpt-(\d+)\.index")


def find(path: Path) -> str:
    """The prefix, as TensorFlow takes it. Raises UsageError."""
    if is_url(str(path)):
        raise UsageError(f"{path} is a URL", place=_PLACE, remedy="Copy it to this machine first")
    prefix = _prefix(path.absolute())
    found = read_weights(prefix)
    if found.flaw:
        what, remedy = found.flaw
        raise UsageError(what if prefix in what else f"{prefix}: {what}", place=_PLACE,
                         remedy=remedy)  # fmt: skip
    if found.roots is not None and "model" not in found.roots:
        has = ", ".join(sorted(found.roots)) or "nothing"
        raise UsageError(
            f"{prefix} is no detector's: it has {has}, no model",
            place=_PLACE,
            remedy="A classifier's weights have no boxes to score; give those of a detector",
        )
    return prefix


def _prefix(path: Path) -> str:
    if path.is_dir():
        for folder in (path / name for name in _FOLDERS):
            if there := list(folder.glob("*.index")):
                return str(max(there, key=_age).with_suffix(""))
        raise UsageError(
            f"no checkpoint is in {path}",
            place=_PLACE,
            remedy="Name the folder of a run, of an export or of an unpacked tarball of the model "
            "zoo, or a checkpoint without .index",
        )
    return str(path.with_suffix("")) if path.suffix == ".index" else str(path)


def _age(index: Path) -> tuple[int, float]:
    """By the step in its name, then by time."""
    step = _STEP.fullmatch(index.name)
    return (int(step[1]) if step else -1, index.stat().st_mtime)
