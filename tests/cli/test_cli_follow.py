"""The live line on a terminal."""

import os
import pty
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from launcher.backends import local
from launcher.backends.status import true_status
from launcher.contract import State


def read_all(terminal: int) -> str:
    """Until the other side is closed."""
    data = b""
    while True:
        try:
            block = os.read(terminal, 65536)
        except OSError:
            break
        if not block:
            break
        data += block
    return data.decode()


def test_live_line_on_a_terminal(
    scripts: Callable[[str, str], None],
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
) -> None:
    scripts(
        "beat(total // 10); (root / 'beaten').touch(); time.sleep(1.5); beat(total)",
        "score(total // 10, 12.34); time.sleep(2); score(total, 42)",
    )
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        submit_argv,
        cwd=work,
        env={**env, "TERM": "xterm", "COLUMNS": "200", "LINES": "40"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = read_all(ours)
    os.close(ours)
    assert process.wait(timeout=30) == 0, shown
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(
        r"demo  RUNNING  step 5,000/50,000 \(10 %\)  64\.0 images/s  loss 0\.75  rate 0\.05  "
        r"ETA 1d01h  mAP 0\.123 at step 5,000",
        plain,
    ), plain
    assert "target   35 COCO points (tolerance 0.5): reached" in plain


def test_closed_terminal_cancels(
    scripts: Callable[[str, str], None],
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
) -> None:
    """SIGHUP, and nothing can be written any more."""
    scripts("on_term(143); forever()", "forever()")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        submit_argv,
        cwd=work,
        env={**env, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=_own_terminal,
    )
    os.close(theirs)
    root = work / "runs" / "demo"
    deadline = time.monotonic() + 30
    while not (root / "ready-1").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(ours)
    process.wait(timeout=30)
    now = true_status(root)
    local.cancel(root)  # for a test that fails
    assert now.state is State.CANCELLED


def _own_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
