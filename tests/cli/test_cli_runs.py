"""submit and all that follows, with real processes."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends import local

from .conftest import Launcher, left_over

Scripts = Callable[[str, str], None]

GOOD_WORKER = "print('step', total); beat(total)"
GOOD_EVALUATOR = "score(total // 2, 20); score(total, {points})"


@pytest.fixture
def submit(
    env: dict[str, str], work: Path, spec_file: Path, submit_argv: list[str]
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*submit_argv, *options],
            cwd=work, env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


Submit = Callable[..., "subprocess.CompletedProcess[str]"]


def appears(path: Path, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)


def test_run_that_reaches_its_target(
    inside: Launcher, submit: Submit, scripts: Scripts, work: Path, tmp_path: Path
) -> None:
    scripts(GOOD_WORKER, "time.sleep(0.5);" + GOOD_EVALUATOR.format(points=42))
    done = submit()
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert lines[0] == ["demo"]
    table = dict(line for line in lines[1:])
    assert table["state"] == "SUCCEEDED"
    assert table["mAP"] == "0.420"
    assert table["step"] == "50,000 of 50,000"
    assert table["target"] == "35 COCO points (tolerance 0.5): reached"
    page = work / table["page"]
    assert page == work / "runs" / "demo" / "report" / "index.html"
    assert "mAP 42.0 at step 50,000 of 50,000 reaches the target of 35" in page.read_text()
    assert "demo  EVALUATING  step 50,000/50,000 (100 %)" in done.stderr

    # Everything about it, from another folder.
    found = inside("results", "demo", "--json", cwd=tmp_path)
    assert found.returncode == 0
    results = json.loads(found.stdout)
    assert list(results) == [
        "name", "state", "total_steps", "target_map", "tolerance", "target_met", "final",
        "history", "bad_records", "damaged_checkpoints", "not_scored", "findings",
    ]  # fmt: skip
    assert results["name"] == "demo"
    assert results["state"] == "SUCCEEDED"
    assert (results["target_map"], results["target_met"]) == (35.0, True)
    assert (results["final"]["step"], results["final"]["mAP"]) == (50_000, 0.42)
    assert [row["step"] for row in results["history"]] == [25_000, 50_000]
    status = json.loads(inside("status", "demo", "--json", cwd=tmp_path).stdout)
    assert (status["state"], status["reason"], status["step"]) == ("SUCCEEDED", "scored", 50_000)
    assert status["last_map"] == 0.42
    logs = inside("logs", "demo", cwd=tmp_path).stdout.splitlines()
    assert logs == ["worker-0: step 50000", "worker-1: step 50000"]
    assert inside("logs", "demo", "worker-1", "-f", cwd=tmp_path).stdout == "step 50000\n"
    assert "evaluator" in inside("logs", "demo", "all", "--grep", "left with", cwd=tmp_path).stdout
    nothing = inside("logs", "demo", "worker-7", cwd=tmp_path)
    assert nothing.returncode == 2
    assert nothing.stderr == (
        "error: demo: no log of worker-7. There are logs of evaluator, supervisor, worker-0, "
        "worker-1, attempts 0\n"
    )
    listed = json.loads(inside("list", "--json", cwd=tmp_path).stdout)
    assert [(run["name"], run["state"]) for run in listed] == [("demo", "SUCCEEDED")]
    assert "SUCCEEDED  50,000/50,000  0.420" in inside("list").stdout
    cancelled = inside("cancel", "demo", cwd=tmp_path)
    assert (cancelled.returncode, cancelled.stdout) == (0, "demo has already ended: SUCCEEDED\n")

    # The name is taken, until it is deleted.
    again = submit()
    assert again.returncode == 2
    assert again.stderr.startswith("error: demo: has already ended: SUCCEEDED at step 50000")
    assert submit("--replace", "--wait").returncode == 0
    deleted = inside("delete", "demo", cwd=tmp_path)
    assert (deleted.returncode, deleted.stdout) == (0, f"demo: deleted {work}/runs/demo\n")
    gone = inside("delete", "demo", cwd=tmp_path)
    assert (gone.returncode, gone.stdout) == (0, "demo: there is no such run, nothing to delete\n")
    assert inside("list").stderr == "no runs\n"


def test_missed_target_is_exit_code_4(inside: Launcher, submit: Submit, scripts: Scripts) -> None:
    scripts(GOOD_WORKER, GOOD_EVALUATOR.format(points=34.4))
    done = submit("--wait")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith(
        "error: demo: mAP 34.4 is below the target 35 minus tolerance 0.5 (COCO points)"
    )
    found = inside("results", "demo", "--json")
    assert (found.returncode, json.loads(found.stdout)["target_met"]) == (4, False)
    assert inside("status", "demo").returncode == 0  # the run itself is well


def test_tolerance_counts_as_reached(submit: Submit, scripts: Scripts) -> None:
    scripts(GOOD_WORKER, GOOD_EVALUATOR.format(points=34.5))
    assert submit("--wait").returncode == 0


def test_failed_run_is_exit_code_1_and_says_why(
    inside: Launcher, submit: Submit, scripts: Scripts
) -> None:
    scripts(
        "fail(66, 'the loss is nan at step 12. Lower the rate') if index else forever()",
        "forever()",
    )
    done = submit()
    assert done.returncode == 1
    told = "FAILED (diverged): worker-1: the loss is nan at step 12. Lower the rate"
    assert done.stderr.splitlines()[-1] == f"error: demo: {told}"
    status = inside("status", "demo")
    assert status.returncode == 1
    assert "the loss is nan at step 12" in status.stdout
    assert inside("results", "demo").returncode == 1


def test_detached_run_is_followed_and_cancelled(
    inside: Launcher, submit: Submit, scripts: Scripts, work: Path, tmp_path: Path
) -> None:
    scripts("on_term(143); beat(5); print('hello'); forever()", "forever()")
    done = submit("--detach", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["name"] == "demo"
    root = work / "runs" / "demo"
    for name in ("ready-0", "ready-1"):
        appears(root / name)
    assert "RUNNING" in inside("status", "demo").stdout
    assert submit().returncode == 2
    assert inside("delete", "demo").returncode == 2
    assert inside("evaluate", "demo").stderr.startswith("error: demo: is RUNNING")
    done = inside("cancel", "demo")
    assert done.returncode == 0
    assert done.stdout == "demo: CANCELLED at step 5 of 50,000\n"
    assert (root / "saved-by-0").exists()
    assert (root / "saved-by-1").exists()
    assert left_over(tmp_path / "scripts") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupt_of_a_foreground_submit_leaves_no_process(
    scripts: Scripts,
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    scripts("on_term(143); forever()", "forever()")
    process = subprocess.Popen(
        submit_argv, cwd=work, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    root = work / "runs" / "demo"
    for name in ("ready-0", "ready-1"):
        appears(root / name)
    supervisor = json.loads((root / "status.json").read_text())["supervisor_pid"]
    assert len(left_over(tmp_path / "scripts")) == 3
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    assert "demo: CANCELLED" in told
    assert "Traceback" not in told
    assert left_over(tmp_path / "scripts") == []
    assert not Path(f"/proc/{supervisor}").exists()  # not even as a zombie
    assert (root / "saved-by-0").exists()


def test_second_interrupt_does_not_wait(
    scripts: Scripts,
    env: dict[str, str],
    work: Path,
    spec_file: Path,
    submit_argv: list[str],
    tmp_path: Path,
) -> None:
    scripts("signal.signal(signal.SIGTERM, signal.SIG_IGN); forever()", "forever()")
    process = subprocess.Popen(submit_argv, cwd=work, env=env, stderr=subprocess.PIPE, text=True)
    for name in ("ready-0", "ready-1"):
        appears(work / "runs" / "demo" / name)
    process.send_signal(signal.SIGINT)
    time.sleep(0.7)
    assert process.poll() is None  # it waits for the checkpoint
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=15)
    assert process.returncode == 130
    assert left_over(tmp_path / "scripts") == []


def test_logs_follow_a_run_to_its_end(
    launcher: Launcher,
    submit: Submit,
    scripts: Scripts,
    env: dict[str, str],
    work: Path,
) -> None:
    scripts(
        "print('attempt', attempt, flush=True)\n"
        "while not (root / f'go-{attempt}').exists(): time.sleep(0.02)\n"
        "sys.exit(0 if attempt else 1)",
        GOOD_EVALUATOR.format(points=42),
    )
    submit("--detach")
    root = work / "runs" / "demo"
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "demo", "worker-0", "-f"],
        cwd=work,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "attempt 0\n"  # while it runs
    (root / "go-0").touch()
    (root / "go-1").touch()
    rest, told = process.communicate(timeout=30)
    assert rest == "attempt-1: attempt 1\n"
    assert told == "demo: SUCCEEDED (scored)\n"


def test_evaluate_mends_a_run_whose_evaluator_failed(
    launcher: Launcher, submit: Submit, scripts: Scripts, work: Path
) -> None:
    scripts(GOOD_WORKER, "fail(65, 'val.record: unknown class 7', 'evaluator')")
    done = submit("--wait")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "error: demo: FAILED (evaluation-failed): the training is complete, its scoring failed: "
        "evaluator: val.record: unknown class 7. Score the last checkpoint with "
        "`launcher evaluate demo`"
    )
    failed = launcher("evaluate", "demo")
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        "error: demo: the evaluator left with exit code 65. Its messages are above"
    )
    scripts(GOOD_WORKER, GOOD_EVALUATOR.format(points=42))
    mended = launcher("evaluate", "demo")
    assert mended.returncode == 0, mended.stderr
    assert json.loads(launcher("status", "demo", "--json").stdout)["state"] == "SUCCEEDED"


def test_two_submits_at_once(
    scripts: Scripts, env: dict[str, str], work: Path, spec_file: Path, submit_argv: list[str]
) -> None:
    scripts("on_term(143); forever()", "forever()")
    both = [
        subprocess.Popen(
            [*submit_argv, "--detach"], cwd=work, env=env, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], told
    assert "demo: is already running" in "".join(told)
    local.cancel(work / "runs" / "demo")
