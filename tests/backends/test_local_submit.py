"""Who may start in a run's folder, and what is left when it may not."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from launcher.backends import local, lock, orphans
from launcher.backends.status import read_status, true_status, write_status
from launcher.contract import Reason, RunPaths, State
from launcher.errors import RunFailedError, StorageError, UsageError
from launcher.render.local import JOB_FILE, LocalJob
from launcher.storage import peek_json, write_json
from tests.disks import small

from .conftest import MakeJob, processes_of

Start = Callable[..., Path]


def ended(root: Path, seconds: float = 20.0) -> State:
    deadline = time.monotonic() + seconds
    while not (status := true_status(root)).state.ended or lock.is_held(root):
        assert time.monotonic() < deadline, status
        time.sleep(0.02)
    return status.state


def test_running_name_is_refused(make_job: MakeJob, start: Start) -> None:
    job = make_job("beat(7); forever()")
    root = start(job)
    while true_status(root).step < 7:
        time.sleep(0.02)
    for options in ({}, {"resume": True}, {"replace": True}):
        with pytest.raises(UsageError) as caught:
            start(job, **options)
        assert str(caught.value) == (
            f"demo: is already running: RUNNING at step 7 of 100 ({root}). Stop it with "
            "`launcher cancel demo`; after that `submit --resume` continues it and "
            "`submit --replace` starts anew"
        )


def test_ended_name_is_refused_unless_asked(make_job: MakeJob, start: Start) -> None:
    job = make_job("beat(100)")
    root = start(job)
    assert ended(root) is State.SUCCEEDED
    with pytest.raises(UsageError) as caught:
        start(job)
    assert str(caught.value) == (
        f"demo: has already ended: SUCCEEDED at step 100 of 100 ({root}). Continue it from its "
        "checkpoints with --resume, or delete it and start anew with --replace"
    )


def test_resume_keeps_checkpoints_and_logs(make_job: MakeJob, start: Start) -> None:
    job = make_job("print('attempt', attempt)")
    root = start(job)
    ended(root)
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "ckpt-5.index").touch()
    start(job, resume=True)
    assert ended(root) is State.SUCCEEDED
    assert (root / "checkpoints" / "ckpt-5.index").exists()
    paths = RunPaths(root)
    assert [paths.worker_log(k, 0).read_text() for k in (0, 1)] == ["attempt 0\n", "attempt 1\n"]
    status = read_status(root)
    assert status is not None
    assert (status.attempt, status.restarts) == (1, 0)


def test_what_pods_gave_up_is_no_word_of_a_run_that_is_continued_here(
    make_job: MakeJob, start: Start
) -> None:
    worker = "sys.exit(65 if (root / 'progress' / 'given-up.json').exists() else 0)"
    job = make_job(worker)
    paths = RunPaths(start(job))
    ended(paths.root)
    write_json(paths.given_up, {"worker": 3, "exit": 75, "message": "", "time": time.time()})
    start(job, resume=True)
    assert ended(paths.root) is State.SUCCEEDED
    assert not paths.given_up.exists()
    assert peek_json(paths.begun_again)["time"] <= time.time(), "as worker 0 of pods notes it"


def test_replace_starts_in_an_empty_folder(make_job: MakeJob, start: Start) -> None:
    job = make_job("print('attempt', attempt)")
    root = start(job)
    ended(root)
    (root / "checkpoints").mkdir()
    (root / "checkpoints" / "ckpt-5.index").touch()
    start(job, replace=True)
    assert ended(root) is State.SUCCEEDED
    assert not (root / "checkpoints").exists()
    assert [p.name for p in (root / "logs").iterdir()] == ["attempt-0"]


def test_resume_and_replace_exclude_each_other(make_job: MakeJob, start: Start) -> None:
    job = make_job("pass")
    with pytest.raises(UsageError, match="--resume and --replace exclude each other"):
        start(job, resume=True, replace=True)
    assert not job.paths.root.exists()


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"replace": True}])
def test_folder_of_something_else_is_not_touched(
    make_job: MakeJob, start: Start, options: dict[str, bool]
) -> None:
    job = make_job("pass")
    root = job.paths.root
    root.mkdir(parents=True)
    (root / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="exists and is not the folder of a run"):
        start(job, **options)
    with pytest.raises(UsageError, match="exists and is not the folder of a run"):
        local.delete(root)
    assert (root / "thesis.tex").read_text() == "years"
    assert [p.name for p in root.iterdir()] == ["thesis.tex"]


def _submit(job: LocalJob, barrier: Any, results: Any) -> None:
    barrier.wait()
    try:
        local.start(job, {"plan.json": {}, JOB_FILE: asdict(job)})
        results.put("started")
    except UsageError as e:
        results.put(str(e))


def test_of_two_submits_at_once_one_wins(make_job: MakeJob) -> None:
    job = make_job("forever()")
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    submits = [context.Process(target=_submit, args=(job, barrier, results)) for _ in range(4)]
    for process in submits:
        process.start()
    told = sorted(results.get(timeout=20) for _ in submits)
    for process in submits:
        process.join()
    assert told.count("started") == 1
    assert all("is already running" in text for text in told if text != "started")
    assert true_status(job.paths.root).state in (State.PENDING, State.RUNNING)


def test_run_dir_that_cannot_be_written(make_job: MakeJob, start: Start, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    job = make_job("pass")
    with pytest.raises(StorageError, match=r"runs/demo: cannot write \(Not a directory\)"):
        start(job)
    assert (tmp_path / "runs").is_file()
    (tmp_path / "runs").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A file system of 64 kB; needs the right to mount one."""
    with small(tmp_path / "runs", "64k") as folder:
        yield folder


def fill(folder: Path) -> None:
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


def test_full_disk_leaves_nothing(small_disk: Path, make_job: MakeJob, start: Start) -> None:
    fill(small_disk)
    job = make_job("pass")
    with pytest.raises(StorageError, match="No space left on device"):
        start(job)
    assert [p.name for p in small_disk.iterdir()] == ["filler"]


def test_end_is_told_on_a_full_disk(small_disk: Path, make_job: MakeJob, start: Start) -> None:
    root = start(make_job("while not (root.parent / 'filler').exists(): time.sleep(0.02)"))
    fill(small_disk)
    assert ended(root) is State.SUCCEEDED
    status = read_status(root)
    assert status is not None
    assert status.state is State.SUCCEEDED  # in the file, not inferred


def test_supervisor_that_cannot_start_is_told_with_its_log(make_job: MakeJob) -> None:
    job = make_job("pass")
    with pytest.raises(RunFailedError, match=r"attempt-0/supervisor\.log: the supervisor did not"):
        local.start(job, {JOB_FILE: {"not": "a job"}})
    status = true_status(job.paths.root)
    assert (status.state, status.reason) == (State.FAILED, Reason.SUPERVISOR_LOST)
    assert not lock.is_held(job.paths.root)


SLOW = """#!{python}
import os, pathlib, signal, sys, time
status = pathlib.Path(sys.argv[3]) / "status.json"
{code}
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [
        ("", RunFailedError, r"supervisor\.log: the supervisor did not start within 1 s\."),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", RunFailedError, "did not start within"),
        ("status.unlink(); status.mkdir()", StorageError, r"status\.json: cannot read \(Is a dir"),
    ],
)
def test_supervisor_that_does_not_come_to_work_is_ended(
    make_job: MakeJob,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    error: type[Exception],
    says: str,
) -> None:
    """Else `submit` would fail, and the run go on some time later."""
    monkeypatch.setattr(local, "_START_SECONDS", 1.0)
    monkeypatch.setattr(local, "_REAP_SECONDS", 1.0)
    slow = tmp_path / "python"
    slow.write_text(SLOW.format(python=sys.executable, code=code))
    slow.chmod(0o755)
    job = replace(make_job("forever()"), python=str(slow))
    with pytest.raises(error, match=says):
        local.start(job, {JOB_FILE: asdict(job)})
    assert not lock.is_held(job.paths.root)
    argv = f"{slow}\0-m".encode()
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if argv in read(p)]
    if error is RunFailedError:
        status = read_status(job.paths.root)
        assert status is not None
        assert (status.state, status.reason) == (State.FAILED, Reason.SUPERVISOR_LOST)


def test_a_status_that_cannot_be_read_for_a_moment_is_no_failed_start(
    make_job: MakeJob, tmp_path: Path
) -> None:
    slow = tmp_path / "python"
    code = """
saved = status.read_text()
status.unlink()
status.symlink_to("/proc/self/mem")
time.sleep(0.5)
status.unlink()
status.write_text(saved)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
    slow.write_text(SLOW.format(python=sys.executable, code=code))
    slow.chmod(0o755)
    job = replace(make_job("pass"), python=str(slow))
    local.start(job, {JOB_FILE: asdict(make_job("pass"))})
    assert ended(job.paths.root) is State.SUCCEEDED


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_interrupt_while_it_starts_leaves_nothing(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job("forever()")

    def interrupted(*_: object) -> None:
        while not ((now := read_status(job.paths.root)) and now.supervisor_pid):
            time.sleep(0.02)
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "_await_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        local.start(job, {JOB_FILE: asdict(job)})
    assert not lock.is_held(job.paths.root)
    assert processes_of(tmp_path) == []
    assert true_status(job.paths.root).state is State.CANCELLED


def test_resume_after_a_killed_supervisor_ends_its_processes_first(
    make_job: MakeJob, start: Start, tmp_path: Path
) -> None:
    job = make_job("if attempt == 0: forever()")
    root = start(job)
    for name in ("ready-0-0", "ready-1-0"):
        while not (root / name).exists():
            time.sleep(0.02)
    status = read_status(root)
    assert status is not None
    assert status.supervisor_pid is not None
    os.kill(status.supervisor_pid, signal.SIGKILL)
    while lock.is_held(root):
        time.sleep(0.02)
    assert len(orphans.left(RunPaths(root))) >= 2
    with pytest.raises(UsageError, match="has already ended: FAILED"):
        start(job)
    start(job, resume=True)
    assert ended(root) is State.SUCCEEDED
    assert processes_of(tmp_path) == []


def test_orphans_are_told_from_strangers_with_their_pid(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("pass"))
    ended(root)
    (root / "processes.json").write_text(
        f'{{"supervisor": 1, "pids": {{"worker-0": {os.getpid()}}}}}'
    )
    assert orphans.reap(RunPaths(root)) == []


def test_delete_refuses_a_running_one_and_is_idempotent(make_job: MakeJob, start: Start) -> None:
    root = start(make_job("on_term(143); forever()"))
    with pytest.raises(UsageError, match="is already running"):
        local.delete(root)
    local.cancel(root)
    assert local.delete(root)
    assert not root.exists()
    assert not local.delete(root)


def test_lock_of_a_deleted_folder_is_no_lock(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    first = lock.RunLock.acquire(root, lock.Work.SUBMIT)
    assert first is not None
    assert lock.is_held(root)
    shutil.rmtree(root)
    second = lock.RunLock.acquire(root, lock.Work.SUBMIT)
    assert second is not None
    assert lock.RunLock.acquire(root, lock.Work.SUBMIT) is None
    second.release()
    assert not lock.is_held(root)
    first.release()


def test_open_file_of_a_deleted_lock_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as file:
        assert lock._is_at(file.fileno(), path)
        path.unlink()
        assert not lock._is_at(file.fileno(), path)
        path.touch()
        assert not lock._is_at(file.fileno(), path)


def test_status_of_a_long_message_stays_within_a_block(tmp_path: Path) -> None:
    from launcher.backends.base import RunStatus

    status = RunStatus("demo", tmp_path, State.FAILED, Reason.CRASHED)
    write_status(replace(status, message="x" * 100_000))
    assert RunPaths(tmp_path).status.stat().st_size < 4096
    assert true_status(tmp_path).message.endswith("x...")


def test_status_that_is_torn_or_foreign_is_no_status(tmp_path: Path) -> None:
    for text in ("", "{", "[]", '{"name": "x", "state": "FLYING"}'):
        RunPaths(tmp_path).status.write_text(text)
        assert read_status(tmp_path) is None


def test_supervisor_environment_has_nothing_of_another_run(
    make_job: MakeJob, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setenv("LAUNCHER_CPU_THREADS", "99")
    root = start(
        make_job(
            "print(os.environ.get('TF_CONFIG'), os.environ['LAUNCHER_CPU_THREADS'])", workers=1
        )
    )
    assert ended(root) is State.SUCCEEDED
    assert RunPaths(root).worker_log(0, 0).read_text() == "None 2\n"
