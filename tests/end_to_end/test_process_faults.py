"""What happens to processes, happening to a real run: two workers of a small SSD, the evaluator.

One run takes all of it, one fault after the other, because TensorFlow's start is what takes the
time. Each test makes sure that the run is there and trains, injects its fault, and looks at what
became of it; the last ones lead the run to its end and prove its arithmetic.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from launcher.render.local import LocalJob
from launcher.run_record import read_train_rows
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import (
    GLOBAL_BATCH,
    SINGLE,
    SmallRun,
    blocked_by_a_fifo,
    make_run,
)

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]

STEPS = 120
CHECKPOINT_STEPS = 10
STALL_SECONDS = 20.0
FROZEN_SECONDS = LocalJob.frozen_seconds
LEAVE_SECONDS = 20.0
"""How soon the others have left when one of the group is gone."""

OTHER_SPEC = ["--set", "train.keep_checkpoints=5", "--set", "evaluate.every=checkpoint"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRun]:
    run = make_run(
        tmp_path_factory.mktemp("faults"),
        steps=STEPS,
        checkpoint_steps=CHECKPOINT_STEPS,
        stall_seconds=STALL_SECONDS,
        max_restarts=8,
    )
    yield run
    run.end_all()


def restarts(run: SmallRun) -> int:
    return int(run.status()["restarts"])


def test_kill_of_the_chief(run: SmallRun) -> None:
    attempt, used = run.running(), restarts(run)
    evaluator, other = run.pid("evaluator"), run.pid("worker-1")
    os.kill(run.pid("worker-0"), signal.SIGKILL)
    run.gone(other, LEAVE_SECONDS)
    told = run.wait_attempt(attempt + 1)
    assert told["reason"] == "crashed"
    assert told["message"].startswith("worker-0 was killed by SIGKILL")
    assert restarts(run) == used + 1
    assert run.pid("evaluator") == evaluator  # it goes on meanwhile


def test_kill_of_the_evaluator(run: SmallRun) -> None:
    attempt, used = run.running(), restarts(run)
    workers = [run.pid("worker-0"), run.pid("worker-1")]
    evaluator = run.pid("evaluator")
    os.kill(evaluator, signal.SIGKILL)
    run.wait_evaluator(other_than=evaluator)
    before = len(run.rows())
    run.wait(lambda: len(run.rows()) > before, "another step")
    assert [run.pid("worker-0"), run.pid("worker-1")] == workers
    assert (run.status()["attempt"], restarts(run)) == (attempt, used)


def test_stop_of_a_worker_is_noticed_and_named(run: SmallRun) -> None:
    attempt, used = run.running(), restarts(run)
    began = time.monotonic()
    os.kill(run.pid("worker-1"), signal.SIGSTOP)
    told = run.wait_attempt(attempt + 1)
    assert time.monotonic() - began < FROZEN_SECONDS + LEAVE_SECONDS
    assert told["reason"] == "peer-lost"
    assert told["message"].startswith("worker-1 was stopped by a signal (SIGSTOP)")
    assert restarts(run) == used + 1


def test_input_that_blocks_is_noticed_and_named(run: SmallRun) -> None:
    """A record file is a FIFO that nobody writes to, for the first worker that opens it."""
    attempt, used = run.running(), restarts(run)
    record = run.folder / "data" / SINGLE
    (blocked,) = blocked_by_a_fifo(run, record)
    began = time.monotonic()
    told = run.wait_attempt(attempt + 1)
    assert time.monotonic() - began < STALL_SECONDS + LEAVE_SECONDS
    assert told["reason"] == "peer-lost"
    named = re.match(r"(worker-\d): waiting for input since (\d+) s: ", told["message"])
    assert named, told["message"]
    assert named[1] == blocked
    assert f"{record}: record 0 at byte 0 cannot be read" in told["message"]
    assert STALL_SECONDS <= int(named[2]) <= STALL_SECONDS + 5
    assert restarts(run) == used + 1
    log = run.log(attempt, named[1])
    assert "most recent call first" in log
    assert 'launcher/runtime/step.py", line' in log  # of the main thread
    assert 'launcher/records/framing.py", line' in log  # of the thread that reads
    left = re.sub(r" \(pid \d+\)", "", run.log(attempt, "supervisor"))
    assert f"{named[1]}: left with exit code 75" in left


@pytest.mark.parametrize("who", [["worker-1"], ["worker-0", "worker-1", "evaluator"]])
def test_sigterm_saves_and_counts_as_no_restart(run: SmallRun, who: list[str]) -> None:
    attempt, used = run.running(), restarts(run)
    pids = [run.pid(label) for label in who]
    for pid in pids:
        os.killpg(pid, signal.SIGTERM)
    told = run.wait_attempt(attempt + 1)
    assert told["reason"] == "preempted"
    assert restarts(run) == used
    supervisor = re.sub(r" \(pid \d+\)", "", run.log(attempt, "supervisor"))
    stopped = []
    for worker in ("worker-0", "worker-1"):
        assert f"{worker}: left with exit code 143" in supervisor
        found = re.search(r"stopped on request after step (\d+)", run.log(attempt, worker))
        assert found
        stopped.append(int(found[1]))
    assert stopped[0] == stopped[1] == run.steps_of(attempt)[-1]
    assert stopped[0] in run.saved()
    if "evaluator" in who:
        assert "evaluator given up" not in supervisor
        run.wait_evaluator(other_than=pids[-1])
    run.running()
    assert run.steps_of(attempt + 1)[0] == stopped[0] + 1  # no step is taken twice


def test_two_supervisors_on_one_folder(run: SmallRun) -> None:
    attempt = run.running()
    for options in ([], ["--resume"], ["--replace"]):
        done = run.launcher("submit", run.spec.name, *options)
        assert done.returncode == 2
        assert "is already running: RUNNING at step" in done.stderr
    second = subprocess.run(
        [sys.executable, "-m", "launcher.backends.local_supervisor", str(run.paths.root)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (second.returncode, second.stderr.splitlines()[-1].split(" ", 2)[2]) == (
        1,
        f"error: {run.paths.root}: another supervisor has this run",
    )
    assert run.status()["attempt"] == attempt


def test_kill_of_the_supervisor_leaves_no_orphan_and_resumes_to_the_end(run: SmallRun) -> None:
    attempt = run.running()
    os.kill(run.supervisor(), signal.SIGKILL)
    run.wait(lambda: run.left() == [], "the end of all processes", LEAVE_SECONDS)
    done = run.launcher("status", run.name, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["state"], told["reason"]) == (1, "FAILED", "supervisor-lost")

    refused = run.launcher(
        "submit", run.spec.name, "--resume", *OTHER_SPEC, "--set", "train.seed=1"
    )
    assert refused.returncode == 2
    assert [line.split(" ")[2] for line in refused.stderr.splitlines()] == [
        "train.keep_checkpoints:", "train.seed:", "evaluate.every:",
    ]  # fmt: skip
    assert run.left() == []
    run.submit("--resume", "--allow-change", *OTHER_SPEC)
    told = run.wait_end()
    assert (told["state"], told["reason"], told["step"]) == ("SUCCEEDED", "scored", STEPS)
    assert told["attempt"] == attempt + 1
    assert run.left() == []
    assert len(run.saved()) == 5


def test_the_record_proves_the_arithmetic(run: SmallRun) -> None:
    """Of the run that the tests before have led to its end through all those faults."""
    if run.status()["state"] != "SUCCEEDED":
        pytest.skip("is about the run that went through the tests above")
    kept: list[int] = []
    for attempt in sorted({row["attempt"] for row in run.rows()}):
        steps = run.steps_of(attempt)
        assert steps == list(range(steps[0], steps[0] + len(steps)))  # none left out, none twice
        kept = [step for step in kept if step < steps[0]]
        assert kept == list(range(1, steps[0]))  # it continues what was saved
        kept += steps
    rows = read_train_rows(run.paths)  # without what was trained again
    assert [row["step"] for row in rows] == kept == list(range(1, STEPS + 1))
    assert [row["images_seen"] for row in rows] == [step * GLOBAL_BATCH for step in kept]
    losses = [row["loss"] for row in rows]
    assert sum(losses[-20:]) < sum(losses[:20]), "the curve goes on falling through all faults"
    scores = [row["step"] for row in read_jsonl(run.paths.eval_metrics) if "mAP" in row]
    assert scores[-1] == STEPS
