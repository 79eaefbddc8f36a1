"""`launcher plan` on terminals of several widths."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.planning import make_plan, table
from launcher.spec import load


def on_terminal(env: dict[str, str], columns: int, *args: str) -> str:
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", *args],
        env={**env, "COLUMNS": str(columns), "TERM": "xterm"},
        stdout=its,
    )
    os.close(its)
    read = b""
    while True:
        try:
            more = os.read(ours, 4096)
        except OSError:  # how Linux tells the end of a terminal
            break
        read += more
    os.close(ours)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", read.decode())


@pytest.mark.parametrize("columns", [40, 80, 100, 140])
@pytest.mark.parametrize("own", [False, True], ids=["recipe", "file"])
def test_no_word_is_broken(
    env: dict[str, str], shared: Path, spec_file: Path, columns: int, own: bool
) -> None:
    path = shared / "seed" / "pipeline.config" if own else spec_file
    text = on_terminal({**env, "NO_COLOR": "1"}, columns, "plan", str(path), "--set", "name=x")
    body = text.split("warning:")[0]
    shown = {word.strip("(),:") for word in body.split()}
    for row in table(make_plan(load(path, ["name=x"]))):
        said = f"{row.quantity} {row.recipe} {row.file} {row.run} {row.why}"
        words = {word.strip("(),:") for word in said.split() if len(word) < 30}
        assert words <= shown, (row.quantity, words - shown)
    lines = [line for line in body.splitlines() if "/" not in line]
    assert max(map(len, lines)) <= columns
