"""The supervisor, with real processes that end in every way a worker can."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from launcher.backends import local, lock, orphans
from launcher.backends.base import RunStatus
from launcher.backends.status import heartbeats, newest_score, true_status
from launcher.contract import Reason, RunPaths, State
from launcher.render.local import JOB_FILE

from .conftest import MakeJob, processes_of

Start = Callable[..., Path]

WAIT_FOR_GO = "while not (root / 'go').exists(): time.sleep(0.02)"


def ended(root: Path, seconds: float = 20.0) -> RunStatus:
    return until(root, lambda s: s.state.ended and not lock.is_held(root), seconds)


def until(root: Path, condition: Callable[[RunStatus], bool], seconds: float = 20.0) -> RunStatus:
    deadline = time.monotonic() + seconds
    while not condition(status := true_status(root)):
        assert time.monotonic() < deadline, (status, supervisor_log(root))
        time.sleep(0.02)
    return status


def appears(path: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def deleted(root: Path) -> None:
    """Until it is: a file that is written meanwhile keeps its folder from being removed."""
    while root.exists():
        shutil.rmtree(root, ignore_errors=True)


def supervisor_log(root: Path) -> str:
    return "".join(p.read_text() for p in sorted(root.glob("logs/*/supervisor.log")))


def pid_of(root: Path, label: str) -> int:
    pids = json.loads((root / "processes.json").read_text())["pids"]
    assert isinstance(pids[label], int)
    return pids[label]


def test_workers_done_and_scored_is_success(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("print('hello'); beat(100)", "time.sleep(0.3)"))
    status = ended(root)
    assert (status.state, status.reason, status.message) == (State.SUCCEEDED, Reason.SCORED, "")
    assert (status.step, status.total_steps, status.restarts) == (100, 100, 0)
    for worker in (0, 1):
        assert RunPaths(root).worker_log(0, worker).read_text() == "hello\n"


def test_training_done_is_evaluating_until_the_evaluator_leaves(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    root = start(make_job("pass", WAIT_FOR_GO))
    status = until(root, lambda s: s.state is State.EVALUATING)
    assert status.reason is Reason.TRAINED
    (root / "go").touch()
    assert ended(root).state is State.SUCCEEDED


def test_evaluator_yields_the_cpu_and_has_no_cluster(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("pass", "print(os.nice(0), os.environ.get('TF_CONFIG'))"))
    ended(root)
    assert RunPaths(root).evaluator_log(0).read_text() == "10 None\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [(64, Reason.BAD_CONFIG), (65, Reason.BAD_DATA), (66, Reason.DIVERGED)],
)
def test_final_exit_is_not_masked_by_the_peer_that_it_takes_along(
    make_job: MakeJob, start: Start, code: int, reason: Reason
) -> None:
    worker = f"""
        if index == 0:
            fail(75, "lost another worker")
        time.sleep(0.4)
        fail({code}, "train.record-3: record 7: not an Example. Convert it again")
    """
    status = ended(start(make_job(worker, "forever()")))
    assert (status.state, status.reason, status.restarts) == (State.FAILED, reason, 0)
    assert status.message == (
        "worker-1: train.record-3: record 7: not an Example. Convert it again"
    )


def test_final_exit_of_a_worker_that_was_told_to_stop_counts(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        if index == 0:
            sys.exit(75)
        signal.signal(signal.SIGTERM, lambda *a: fail(66, "the loss is not finite"))
        forever()
    """
    status = ended(start(make_job(worker, peer_seconds=0.3)))
    assert (status.state, status.reason) == (State.FAILED, Reason.DIVERGED)


def test_killed_worker_restarts_the_group_and_the_evaluator_stays(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        print("attempt", attempt)
        if attempt == 0:
            on_term(143)
            forever()
    """
    root = start(make_job(worker, WAIT_FOR_GO))
    appears(root / "ready-0-0")
    appears(root / "ready-1-0")
    evaluator = pid_of(root, "evaluator")
    os.kill(pid_of(root, "worker-1"), signal.SIGKILL)
    status = until(root, lambda s: s.state is State.EVALUATING)
    assert pid_of(root, "evaluator") == evaluator
    (root / "go").touch()
    status = ended(root)
    assert (status.state, status.attempt, status.restarts) == (State.SUCCEEDED, 1, 1)
    assert (root / "saved-by-0").read_text() == "0"  # the survivor was asked before it was killed
    for attempt in (0, 1):
        assert f"attempt {attempt}" in RunPaths(root).worker_log(attempt, 0).read_text()
    assert "killed by SIGKILL" in RunPaths(root).supervisor_log(0).read_text()
    assert "started, attempt 1" in RunPaths(root).supervisor_log(1).read_text()


def test_group_of_a_killed_worker_is_not_waited_for(make_job: MakeJob, start: Start) -> None:
    """Its peers hang in a collective: neither the wait for reasons nor that for SIGTERM helps."""
    worker = """
        if attempt == 1:
            sys.exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (root / f"ready-{index}").touch()
        forever()
    """
    job = make_job(worker, peer_seconds=60.0, group_stop_seconds=60.0, killed_stop_seconds=0.2)
    root = start(job)
    appears(root / "ready-0")
    appears(root / "ready-1")
    os.kill(pid_of(root, "worker-1"), signal.SIGKILL)
    assert ended(root).state is State.SUCCEEDED
    log = supervisor_log(root)
    assert "SIGKILL after 0.2 s" in log
    assert "crashed: worker-1 was killed by SIGKILL" in log  # and not the peer that "hung"


def test_worker_that_ignores_sigterm_is_killed(make_job: MakeJob, start: Start) -> None:
    worker = """
        if attempt == 1:
            sys.exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (root / f"ready-{index}").touch()
        while index == 1 or not (root / "ready-1").exists():
            time.sleep(0.02)
        sys.exit(75)
    """
    root = start(make_job(worker, peer_seconds=0.2, group_stop_seconds=0.3))
    assert ended(root).state is State.SUCCEEDED
    assert "SIGKILL after 0.3 s" in supervisor_log(root)


def test_restarts_are_used_up(make_job: MakeJob, start: Start) -> None:
    worker = "print('Traceback: boom'); sys.exit(1 if index == 1 else 75)"
    status = ended(start(make_job(worker, "forever()", max_restarts=2)))
    assert (status.state, status.reason) == (State.FAILED, Reason.CRASHED)
    assert (status.attempt, status.restarts) == (2, 2)
    assert status.message == (
        'worker-1 left with exit code 1; its log ends "Traceback: boom"; '
        "all 2 restarts (restart.max_restarts) are used up"
    )


def test_preemption_uses_up_no_restart(make_job: MakeJob, start: Start) -> None:
    worker = "sys.exit(143 if attempt < 2 else 0)"
    status = ended(start(make_job(worker, max_restarts=0)))
    assert (status.state, status.attempt, status.restarts) == (State.SUCCEEDED, 2, 0)


def test_blocked_worker_is_named_and_not_the_one_that_waits_for_it(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        path = root / "progress" / f"worker-{index}.failure.json"
        path.parent.mkdir(exist_ok=True)
        said = {"exit": 75, "message": ["it waits for the others", "no images came"][index]}
        path.write_text(json.dumps(said | ({"own": True} if index == 1 else {})))
        time.sleep(0.3 * index)
        sys.exit(75)
    """
    status = ended(start(make_job(worker, max_restarts=0)))
    assert (status.state, status.reason) == (State.FAILED, Reason.PEER_LOST)
    assert status.message.startswith("worker-1: no images came; all 0 restarts")


def test_stopped_worker_is_named_and_continued_to_its_end(make_job: MakeJob, start: Start) -> None:
    worker = """
        if attempt == 1:
            sys.exit(0)
        if index == 1:
            on_term(143)
            forever()
        while not (root / "go").exists():
            time.sleep(0.02)
        fail(75, "no step ended: it waits for the others")
    """
    root = start(make_job(worker, peer_seconds=60.0, group_stop_seconds=60.0))
    appears(root / "ready-1-0")
    os.kill(pid_of(root, "worker-1"), signal.SIGSTOP)
    (root / "go").touch()
    status = until(root, lambda s: s.attempt == 1)
    assert status.restarts == 1  # it left with 143 when it was told to, which is not its cause
    status = ended(root)
    assert status.state is State.SUCCEEDED
    assert "peer-lost: worker-1 was stopped by a signal (SIGSTOP)" in supervisor_log(root)
    assert (root / "saved-by-1").exists()  # SIGTERM reached it


def test_some_of_a_group_that_are_stopped_are_noticed_by_the_supervisor(
    make_job: MakeJob, start: Start
) -> None:
    """The others say nothing of it: they wait in an all-reduce, without heartbeats."""
    worker = """
        if attempt == 1:
            sys.exit(0)
        on_term(143)
        forever()
    """
    root = start(make_job(worker, frozen_seconds=0.5))
    for index in (0, 1):
        appears(root / f"ready-{index}-0")
    os.kill(pid_of(root, "worker-1"), signal.SIGSTOP)
    status = ended(root)
    assert (status.state, status.restarts) == (State.SUCCEEDED, 1)
    assert "peer-lost: worker-1 was stopped by a signal (SIGSTOP)" in supervisor_log(root)
    assert (root / "saved-by-0").exists()
    assert (root / "saved-by-1").exists()


def test_a_group_that_is_paused_as_a_whole_may_go_on(make_job: MakeJob, start: Start) -> None:
    worker = """
        (root / f"ready-{index}-{attempt}").touch()
        while not (root / "go").exists():
            time.sleep(0.02)
    """
    root = start(make_job(worker, frozen_seconds=0.3))
    pids = []
    for index in (0, 1):
        appears(root / f"ready-{index}-0")
        pids.append(pid_of(root, f"worker-{index}"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(1.0)
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    (root / "go").touch()
    status = ended(root)
    assert (status.state, status.attempt) == (State.SUCCEEDED, 0)


def test_a_group_that_is_stopped_as_a_whole_is_noticed_by_the_supervisor(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        if attempt == 1:
            sys.exit(0)
        beat(7)
        forever()
    """
    root = start(make_job(worker, workers=1, silence_seconds=0.5))
    appears(root / "ready-0-0")
    os.kill(pid_of(root, "worker-0"), signal.SIGSTOP)
    assert ended(root).state is State.SUCCEEDED
    assert "peer-lost: worker-0 was stopped by a signal (SIGSTOP)" in supervisor_log(root)


def test_a_group_that_only_says_nothing_is_restarted_too(make_job: MakeJob, start: Start) -> None:
    worker = """
        on_term(143)
        beat(7)
        forever()
    """
    status = ended(start(make_job(worker, silence_seconds=0.3, max_restarts=0)))
    assert (status.state, status.reason) == (State.FAILED, Reason.PEER_LOST)
    assert status.message.startswith("worker-0 hung: it said nothing for longer than")


def test_worker_that_leaves_by_no_means_is_named(make_job: MakeJob, start: Start) -> None:
    worker = """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        (root / f"ready-{index}").touch()
        while index == 1 or not (root / "ready-1").exists():
            time.sleep(0.02)
        fail(75, "lost another worker")
    """
    job = make_job(worker, peer_seconds=0.2, group_stop_seconds=0.3, max_restarts=0)
    assert ended(start(job)).message.startswith(
        "worker-1 hung: it ended neither with the others nor within 0.3 s of SIGTERM; all 0"
    )


def test_stopped_worker_saves_when_the_run_is_cancelled(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("on_term(143); forever()", workers=1))
    appears(root / "ready-0-0")
    os.kill(pid_of(root, "worker-0"), signal.SIGSTOP)
    assert local.cancel(root)
    assert (root / "saved-by-0").exists()


def test_step_is_that_of_the_slowest_worker(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("beat(30 + index); forever()"))
    status = until(root, lambda s: s.step > 0 and len(heartbeats(root)) == 2)
    assert (status.step, status.progress.loss, status.progress.images_per_second) == (30, 1.5, 10)
    assert status.progress.eta_seconds == pytest.approx(70 * 32 / 10)


def test_evaluator_is_restarted_alone(make_job: MakeJob, start: Start) -> None:
    evaluator = """
        count = root / "count"
        starts = int(count.read_text()) if count.exists() else 0
        count.write_text(str(starts + 1))
        sys.exit(1 if starts < 3 else 0)
    """
    status = ended(start(make_job("time.sleep(1)", evaluator)))
    assert (status.state, status.attempt, status.restarts) == (State.SUCCEEDED, 0, 0)


def test_evaluator_that_gets_on_is_not_given_up(make_job: MakeJob, start: Start) -> None:
    evaluator = """
        metrics = root / "metrics" / "eval.jsonl"
        metrics.parent.mkdir(exist_ok=True)
        before = metrics.read_text() if metrics.exists() else ""
        metrics.write_text(before + "{}\\n")
        sys.exit(1 if before.count("{}") < 5 else 0)
    """
    root = start(make_job("time.sleep(1)", evaluator, max_evaluator_restarts=1))
    assert ended(root).state is State.SUCCEEDED
    assert "evaluator (pid" in supervisor_log(root)
    assert "started, start 6" in supervisor_log(root)


def test_evaluator_that_is_told_to_stop_is_started_again_without_counting(
    make_job: MakeJob, start: Start
) -> None:
    evaluator = """
        count = root / "count"
        starts = int(count.read_text()) if count.exists() else 0
        count.write_text(str(starts + 1))
        if starts == 4:
            sys.exit(0)
        sys.exit(143) if starts % 2 else os.kill(os.getpid(), signal.SIGTERM)
    """
    status = ended(start(make_job("pass", evaluator, max_evaluator_restarts=0)))
    assert status.state is State.SUCCEEDED


def test_evaluator_given_up_fails_the_run_after_the_training(
    make_job: MakeJob, start: Start
) -> None:
    worker = f"{WAIT_FOR_GO}\nbeat(100)"
    root = start(make_job(worker, "fail(65, 'val.record: no such class 7', 'evaluator')"))
    status = until(root, lambda s: "no such class 7" in s.message)
    assert status.state is State.RUNNING  # the training goes on
    (root / "go").touch()
    status = ended(root)
    assert (status.state, status.reason, status.step) == (
        State.FAILED,
        Reason.EVALUATION_FAILED,
        100,
    )
    assert "`launcher evaluate demo`" in status.message


def test_cancel_saves_and_leaves_nothing(make_job: MakeJob, start: Start, tmp_path: Path) -> None:
    root = start(make_job("on_term(143); forever()", "forever()"))
    appears(root / "ready-0-0")
    appears(root / "ready-1-0")
    assert len(processes_of(tmp_path)) == 3
    assert local.cancel(root)
    status = true_status(root)
    assert (status.state, status.reason) == (State.CANCELLED, Reason.CANCELLED)
    assert (root / "saved-by-0").exists()
    assert (root / "saved-by-1").exists()
    assert processes_of(tmp_path) == []
    assert not local.cancel(root)  # idempotent


def test_second_cancel_does_not_wait_for_checkpoints(make_job: MakeJob, start: Start) -> None:
    worker = "signal.signal(signal.SIGTERM, signal.SIG_IGN); forever()"
    root = start(make_job(worker, stop_seconds=60.0))
    appears(root / "ready-0-0")
    appears(root / "ready-1-0")
    began = time.monotonic()
    assert local.cancel(root, timeout=0.5)
    assert time.monotonic() - began < 10
    status = true_status(root)
    assert status.state is State.CANCELLED
    assert status.message == (
        "worker-0, worker-1 had to be killed before a checkpoint was saved: "
        "`launcher submit SPEC --resume` continues from the one before"
    )


def test_killed_supervisor_is_told_by_readers(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    root = start(make_job("forever()", "forever()"))
    appears(root / "ready-0-0")
    appears(root / "ready-1-0")
    pid = true_status(root).supervisor_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    status = until(root, lambda s: s.state.ended)
    assert (status.state, status.reason) == (State.FAILED, Reason.SUPERVISOR_LOST)
    assert "--resume" in status.message
    # These workers do not look after their supervisor as ours do: the next command ends them.
    assert len(orphans.left(RunPaths(root))) == 3
    assert not local.cancel(root)
    assert processes_of(tmp_path) == []


def test_children_of_a_worker_end_with_it(make_job: MakeJob, start: Start, tmp_path: Path) -> None:
    worker = """
        import subprocess
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    """
    assert ended(start(make_job(worker))).state is State.SUCCEEDED
    deadline = time.monotonic() + 5
    while processes_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_folder_deleted_under_a_run_ends_it(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    root = start(make_job("on_term(143); forever()", "forever()"))
    appears(root / "ready-1-0")
    deleted(root)
    deadline = time.monotonic() + 10
    while processes_of(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_folder_that_is_another_runs_by_now_ends_it(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    job = make_job("signal.signal(signal.SIGTERM, signal.SIG_IGN); forever()", stop_seconds=1.0)
    root = start(job)
    appears(root / "ready-1-0")
    first = true_status(root).supervisor_pid
    deleted(root)  # `launcher delete` refuses; this does not
    other = start(make_job("beat(100)", WAIT_FOR_GO))
    until(other, lambda s: s.state is State.EVALUATING)
    deadline = time.monotonic() + 10
    while Path(f"/proc/{first}/cmdline").exists() and Path(f"/proc/{first}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    status = true_status(other)
    assert (status.state, status.attempt, status.step) == (State.EVALUATING, 0, 100)
    assert status.supervisor_pid != first
    assert [p.name for p in (other / "logs").iterdir()] == ["attempt-0"]
    (other / "go").touch()
    assert ended(other).state is State.SUCCEEDED


def test_second_supervisor_of_a_folder_is_refused(make_job: MakeJob, start: Start) -> None:
    root = start(make_job(WAIT_FOR_GO))
    argv = [sys.executable, "-m", "launcher.backends.local_supervisor", str(root)]
    second = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    assert second.stderr.endswith(f"error: {root}: another supervisor has this run\n")
    (root / "go").touch()
    assert ended(root).state is State.SUCCEEDED


def test_worker_that_cannot_be_started_fails_the_run(make_job: MakeJob) -> None:
    job = make_job("forever()", "forever()")
    described = asdict(job) | {"python": "/no/such/python"}
    local.start(job, {JOB_FILE: described})
    status = ended(job.paths.root)
    assert (status.state, status.reason) == (State.FAILED, Reason.BAD_CONFIG)
    assert status.message == (
        "/no/such/python: cannot be started (No such file or directory). "
        "Submit the run again with a Python that exists"
    )


def test_bug_of_the_supervisor_is_told_and_leaves_no_process(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job("forever()", "forever()", workers=2)
    described = asdict(job) | {"worker_gpus": [[]]}  # of one worker only
    local.start(job, {JOB_FILE: described})
    status = ended(job.paths.root)
    assert (status.state, status.reason) == (State.FAILED, Reason.CRASHED)
    assert "a bug of launcher: see `launcher logs demo supervisor`" in status.message
    assert "Traceback" in supervisor_log(job.paths.root)
    assert processes_of(tmp_path) == []


def test_newest_score_is_the_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "eval.jsonl"
    assert newest_score(path) is None
    rows = [{"step": i, "mAP": i / 100, "per_category": dict.fromkeys("abc", 0.5)} for i in (1, 2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3, "mA')
    assert newest_score(path) == rows[1]
