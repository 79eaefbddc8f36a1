"""The watchdog in a process of its own, which it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.runtime.small_pipelines import demo_pipeline
from tests.runtime.test_worker_process import make_run
from tests.runtime.test_worker_process import start as start_worker

Start = Callable[..., "subprocess.Popen[str]"]

PROGRAM = """
import json, sys, time
from launcher.runtime import watchdog
from launcher.runtime.watchdog import Watchdog

watchdog._POLL_SECONDS = 0.1
dog = Watchdog(
    STALL, lambda code, stall: print(json.dumps([int(code), stall.own, stall.message])),
    workers=WORKERS,
)
dog.start()

def main_thread_waits():
    while True:
        time.sleep(0.1)
"""


@pytest.fixture
def start() -> Iterator[Start]:
    processes = []

    def run(code: str, *, stall: float, workers: int = 2) -> "subprocess.Popen[str]":
        text = PROGRAM.replace("STALL", str(stall)).replace("WORKERS", str(workers))
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", text + code],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def verdict(process: "subprocess.Popen[str]") -> tuple[bool, str]:
    out, err = process.communicate(timeout=30)
    code, own, message = json.loads(out)
    assert (code, process.returncode) == (75, 75)
    assert "main_thread_waits" in err, "the stacks of all threads"
    assert f"watchdog: {message}" in err
    return own, message


def test_the_first_step_may_take_four_times_as_long(start: Start) -> None:
    began = time.monotonic()
    own, message = verdict(start("main_thread_waits()", stall=0.5, workers=1))
    assert time.monotonic() - began > 2
    assert own
    assert message == (
        "no step ended within 2 s before its first step (restart.stall_timeout_seconds); "
        "the stacks of all threads are in this worker's log"
    )


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("", "no images came"),
        ("/d/a.record: record 7", "/d/a.record: record 7 cannot be read: the disk does not answer"),
    ],
)
def test_a_worker_whose_input_gives_nothing_says_so_at_once(
    start: Start, place: str, why: str
) -> None:
    code = f"""
dog.watch_input(lambda steps: steps == 2, lambda seconds: {place!r} if seconds < 1 else "")
dog.beat(31)
main_thread_waits()
"""
    began = time.monotonic()
    own, message = verdict(start(code, stall=0.6))
    assert time.monotonic() - began < 4
    assert own
    assert message == (
        f"waiting for input since 1 s: {why} within 0.6 s after step 31 "
        "(restart.stall_timeout_seconds); the stacks of all threads are in this worker's log"
    )


FAILED = """
from launcher.errors import StorageError
watchdog.FAILED_SECONDS = 0.5
gone = StorageError("no such file", place="/d/a.record", remedy="Mount it")
dog.watch_input(lambda steps: steps > READY, lambda seconds: "", lambda: gone)
for step in range(1, 11):
    dog.beat(step)
    time.sleep(0.1)
main_thread_waits()
"""


@pytest.mark.parametrize("ready", [0, 10])
def test_an_input_that_failed_where_no_step_hears_of_it_ends_with_its_error(
    start: Start, ready: int
) -> None:
    """What was read before it is trained first."""
    process = start(FAILED.replace("READY", str(ready)), stall=30)
    out, err = process.communicate(timeout=30)
    code, own, message = json.loads(out)
    assert (code, process.returncode) == (74, 74)
    assert own
    assert message == "/d/a.record: no such file. Mount it"
    assert f"watchdog: {message}" in err


@pytest.mark.parametrize("place", ["", "/d/a.record: record 7"])
def test_before_the_first_step_only_a_read_that_hangs_is_blamed(start: Start, place: str) -> None:
    code = f"""
dog.watch_input(lambda steps: True, lambda seconds: {place!r})
main_thread_waits()
"""
    own, message = verdict(start(code, stall=0.2))
    assert own == bool(place)
    assert message.startswith(f"waiting for input since 1 s: {place}" if place else "no step ended")
    assert ("it still builds it" in message) == (not place)


def test_one_that_waits_for_the_others_lets_them_speak_first(start: Start) -> None:
    ready = "dog.watch_input(lambda steps: False, lambda seconds: '')"
    code = f"{ready}; dog.beat(31); main_thread_waits()"
    began = time.monotonic()
    own, message = verdict(start(code, stall=0.5))
    assert time.monotonic() - began > 5.5
    assert not own
    assert message.startswith("no step ended within 0.5 s after step 31 (restart.stall_")
    assert "though its input is ready: it waits for the others; " in message


def test_one_that_hangs_in_its_checkpoint_says_so(start: Start) -> None:
    code = "dog.beat(31); dog.saving(); main_thread_waits()"
    own, message = verdict(start(code, stall=0.5))
    assert own
    assert message.startswith("saving the checkpoint did not end within 0.5 s after step 31 (")


def test_a_step_in_time_and_its_saved_checkpoint_are_no_stall(start: Start) -> None:
    code = """
for step in range(1, 21):
    dog.beat(step)
    dog.saving()
    time.sleep(0.1)
    dog.beat(step)
print(json.dumps([75, False, "alive"]), dog._steps)
"""
    out, _ = start(code, stall=0.5).communicate(timeout=30)
    assert out == '[75, false, "alive"] 20\n'


def test_a_process_that_was_stopped_and_continued_is_not_late(start: Start) -> None:
    code = """
watchdog._PAUSED_SECONDS = 1.0
dog.beat(1)
print("in step 2")
sys.stdin.readline()
dog.beat(2)
print("did step 2")
"""
    process = start(code, stall=2, workers=1)
    assert process.stdout is not None
    assert process.stdout.readline() == "in step 2\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(4)
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(0.7)
    assert process.communicate("\n", timeout=30)[0] == "did step 2\n"


def test_a_clock_that_is_set_is_remembered_for_a_minute(start: Start) -> None:
    code = """
real = time.time
assert dog.clock_note() == ""
time.time = lambda: real() - 86_400
time.sleep(0.5)
print(dog.clock_note())
watchdog._CLOCK_REMEMBERED_SECONDS = 0.1
print(dog.clock_note())
"""
    out, err = start(code, stall=60).communicate(timeout=30)
    assert out.splitlines() == [
        "; the machine's clock was set by -86,400 s just before, which TensorFlow's coordination "
        "service takes for a lost worker",
        "",
    ], err


FULL_LOG = """
import fcntl, os
fcntl.fcntl(2, fcntl.F_SETPIPE_SZ, 4096)
os.set_blocking(2, False)
try:
    while True:
        os.write(2, b"x")
except BlockingIOError:
    os.set_blocking(2, True)  # from now on a log whose disk takes nothing and answers nothing
"""
BLOCKED_FILE = """
import os
from pathlib import Path
from launcher import storage
from launcher.contract import RunPaths
from launcher.runtime.__main__ import tell
root = Path(ROOT)
storage.tempfile.mkstemp = lambda dir, prefix: (os.open(root / "hangs", os.O_WRONLY), "")
dog._on_exit = lambda code, stall: tell(RunPaths(root), 0, code, stall.message)
"""


@pytest.mark.parametrize("where", ["the log", "the failure file", "the log, supervisor gone"])
def test_a_disk_that_does_not_take_the_last_words_keeps_no_worker(
    start: Start, tmp_path: Path, where: str
) -> None:
    os.mkfifo(tmp_path / "hangs")  # to open it for writing waits for a reader, who never comes
    code = FULL_LOG if "log" in where else BLOCKED_FILE.replace("ROOT", repr(str(tmp_path)))
    begin = "dog._parent = 1" if "gone" in where else "dog._allowed = 0.1"
    text = f"watchdog.VERDICT_SECONDS = 3.0\n{code}\n{begin}\nmain_thread_waits()"
    began = time.monotonic()
    process = start(text, stall=30)
    assert process.wait(timeout=60) == 75
    assert time.monotonic() - began > 3.0, "it had the time"


@pytest.mark.tensorflow
def test_a_worker_whose_supervisor_is_gone_leaves_while_it_imports(tmp_path: Path) -> None:
    paths = make_run(tmp_path / "run", demo_pipeline(tmp_path, batch=8, steps=1), steps=1)
    slow = tmp_path / "modules" / "tensorflow"
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text("import time; time.sleep(60)")
    path = os.pathsep.join([str(slow.parent), os.environ.get("PYTHONPATH", "")])
    began = time.monotonic()
    worker = start_worker(paths, PYTHONPATH=path, LAUNCHER_PARENT_PID="1")
    _, err = worker.communicate(timeout=90)
    assert worker.returncode == 75
    assert "the supervisor (process 1) is gone" in err
    assert time.monotonic() - began < 30
