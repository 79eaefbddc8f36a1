"""The child of a pod's first process: exit codes, signals, output in two places. Real processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FIRST = """
import os, sys
from launcher.pod import child
from launcher.pod.child import Signals
child.ALIVE_SECONDS = 0.1
log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
sys.exit(Signals().run([sys.executable, "-c", sys.argv[2]], {**os.environ, "MARK": "1"}, log))
"""

SAVES = """
import signal, sys, time
def stop(number, frame):
    print("saved", flush=True)
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep(60)
"""


def start(log: Path, code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", FIRST, str(log), code],
        cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def await_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("import sys; sys.exit(66)", 66),
        ("", 0),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("1/0", 1),
    ],
)
def test_the_exit_code_is_the_childs(tmp_path: Path, code: str, exit_code: int) -> None:
    process = start(tmp_path / "log", code)
    process.communicate(timeout=30)
    assert process.returncode == exit_code


def test_output_goes_to_both_logs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import sys, os; print('out ' + os.environ['MARK']); print('err', file=sys.stderr)"
    _, said = start(log, code).communicate(timeout=30)
    assert sorted(said.splitlines()) == sorted(log.read_text().splitlines()) == ["err", "out 1"]


def test_the_log_shows_that_the_container_lives_though_it_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start(log, "print('ready', flush=True); import time; time.sleep(60)")
    await_text(log, "ready")
    os.utime(log, (1, 1))
    deadline = time.monotonic() + 20
    while log.stat().st_mtime < time.time() - 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert log.read_text() == "ready\n"


def test_sigterm_reaches_a_child_that_saves_first(tmp_path: Path) -> None:
    process = start(tmp_path / "log", SAVES)
    await_text(tmp_path / "log", "ready")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert "saved" in (tmp_path / "log").read_text()


def test_a_child_that_has_no_handler_yet_ends_at_once(tmp_path: Path) -> None:
    """As process 1 of a container it would ignore the signal until its handler is there."""
    process = start(tmp_path / "log", "print('ready', flush=True); import time; time.sleep(60)")
    await_text(tmp_path / "log", "ready")
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 143
    assert time.monotonic() - began < 10


def test_a_grandchild_that_keeps_the_output_open_does_not_hold_the_pod(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "held = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)'])\n"
        "print(held.pid, flush=True)\n"
        "sys.exit(75)"
    )
    process = start(tmp_path / "log", code)
    process.wait(timeout=20)
    assert process.returncode == 75
    os.kill(int((tmp_path / "log").read_text()), signal.SIGKILL)


HANGS = """
import os, time
from launcher.pod import child
os.utime = lambda log: time.sleep(60)
read, log = os.pipe()
os.set_blocking(log, False)
try:
    while True:
        os.write(log, b"x")
except BlockingIOError:
    os.set_blocking(log, True)  # as a file whose disk answers nothing any more
child.ALIVE_SECONDS = 0.1
code = "import sys, time; print('words', flush=True); time.sleep(1); sys.exit(75)"
os._exit(child.Signals().run([os.sys.executable, "-c", code], os.environ, log))
"""


def test_a_log_whose_disk_does_not_answer_hides_no_end() -> None:
    argv = [sys.executable, "-c", HANGS]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr.strip()) == (75, "words")
