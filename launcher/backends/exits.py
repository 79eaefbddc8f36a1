"""How the processes of a run left, from what they wrote and what was seen of them."""

import signal
from collections.abc import Sequence
from pathlib import Path

from launcher.backends.processes import Member
from launcher.backends.verdict import Exit
from launcher.contract import RunPaths
from launcher.storage import peek_json

_UNKILLABLE = "does not end even after SIGKILL (its disk does not answer)"


def exit_of(child: Member, paths: RunPaths, stopped: bool = False, hung: str = "") -> Exit:
    """How a child left, with what it said about it. Call when it has left, or was killed and does
    not."""
    if child.code is None:
        return Exit(child.label, -signal.SIGKILL, stopped, hung=_UNKILLABLE)
    said = peek_json(paths.failure(child.process.role, child.process.index))
    if not isinstance(said, dict) or said.get("exit") != child.code:
        said = {}  # nothing, or of another end
    return Exit(
        child.label,
        child.code,
        stopped,
        told=str(said.get("message", "")) or child.told,
        last_line=last_line(Path(child.process.log)),
        own=said.get("own") is True,
        hung=hung,
    )


def unsaved(workers: Sequence[Member]) -> str:
    """Of a run that was cancelled: whose steps are lost; empty: nobody's."""
    killed = [child.label for child in workers if child.code in (None, -signal.SIGKILL)]
    if not killed:
        return ""
    return (
        f"{', '.join(killed)} had to be killed before a checkpoint was saved: "
        "`launcher submit SPEC --resume` continues from the one before"
    )


def last_line(log: Path, limit: int = 300) -> str:
    """The last line with anything on it, cut to `limit` characters."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")[:limit]
