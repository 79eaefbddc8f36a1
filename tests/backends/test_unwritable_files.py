"""Files of a run that cannot be written, for a moment or until there is room again."""

import contextlib
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import storage
from launcher.backends import local
from launcher.backends.status import true_status
from launcher.contract import Reason, RunPaths, State
from launcher.errors import StorageError, WorkerExit
from launcher.records.room import SLACK, lacking
from launcher.storage import append_jsonl, is_passing, read_json, read_jsonl, write_json
from tests.disks import gone, small

from .conftest import MakeJob
from .test_local_supervisor import WAIT_FOR_GO, Start, ended, until

MIB = 1 << 20


def test_a_network_file_system_that_has_gone_is_one_message(tmp_path: Path) -> None:
    with gone(tmp_path), pytest.raises(StorageError) as caught:
        write_json(tmp_path / "file", {})
    assert str(caught.value).startswith(f"{tmp_path / 'file'}: cannot write (Transport endpoint ")
    assert is_passing(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_when_it_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_AGAIN_SECONDS", 0.6)
    mounted, over = threading.Event(), threading.Event()

    def trouble() -> None:
        with gone(tmp_path):
            mounted.set()
            over.wait(0.2)

    thread = threading.Thread(target=trouble)
    thread.start()
    if not mounted.wait(5):
        pytest.skip("a FUSE file system cannot be mounted here")
    write_json(tmp_path / "file", {"step": 7})
    thread.join()
    assert read_json(tmp_path / "file") == {"step": 7}


def test_what_no_time_mends_is_no_passing_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(StorageError) as caught:
        write_json(tmp_path / "file", {})
    assert not is_passing(caught.value)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of all runs, of 64 MiB."""
    with small(tmp_path / "runs", "64m") as folder:
        yield folder


def test_a_line_that_a_full_disk_tore_takes_no_other_with_it(disk: Path) -> None:
    rows = disk / "rows.jsonl"
    filler = disk / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - 64 * 1024))
    written = 0
    with contextlib.suppress(StorageError):
        while True:
            append_jsonl(rows, {"row": written, "text": "x" * 100})
            written += 1
    assert not rows.read_bytes().endswith(b"\n"), "the last line is torn"
    filler.unlink()
    for more in (1000, 1001):
        append_jsonl(rows, {"row": more})
    assert [row["row"] for row in read_jsonl(rows)] == [*range(written), 1000, 1001]


def test_room_is_for_a_checkpoint_as_large_as_the_largest(disk: Path) -> None:
    paths = RunPaths(disk / "demo")
    assert lacking(paths, 1) == 0, "there is no folder yet"
    paths.checkpoints.mkdir(parents=True)
    (disk / "filler").write_bytes(bytes(62 * MIB))
    assert lacking(paths, 1) == 0, "what a first checkpoint needs is not known"
    (paths.checkpoints / "ckpt-5.index").write_bytes(bytes(1000))
    (paths.checkpoints / "ckpt-5.data-00000-of-00001").write_bytes(bytes(MIB))
    free = shutil.disk_usage(disk).free
    assert lacking(paths, 0) == SLACK - free, "for what is beside checkpoints"
    assert lacking(paths, 1) == MIB + 1000 + SLACK - free
    assert lacking(paths, 2) == 2 * (MIB + 1000) + SLACK - free, "each worker writes one"
    (disk / "filler").unlink()
    assert lacking(paths, 2) == 0


def test_a_restart_waits_for_room_and_is_counted_once(
    disk: Path, make_job: MakeJob, start: Start
) -> None:
    worker = """
        if index:
            forever() if attempt == 0 else sys.exit(0)
        saved = root / "checkpoints" / "ckpt-5.index"
        if attempt == 0:
            saved.parent.mkdir()
            saved.write_bytes(bytes(1 << 20))
            (root.parent / "filler").write_bytes(bytes(60 << 20))
        if (root.parent / "filler").exists():
            fail(74, "the disk: cannot save the checkpoint of step 10 (No space left on device)")
        """
    root = start(make_job(worker))
    waits = until(root, lambda s: "more are free there" in s.message)
    assert (waits.state, waits.reason) == (State.RESTARTING, Reason.STORAGE)
    assert waits.message.startswith("worker-0: the disk: cannot save the checkpoint of step 10 (")
    assert re.search(r"; waits until 16 MiB more are free there$", waits.message)
    time.sleep(1)  # three restarts, after pauses of 0.05, 0.05 and 0.1 s, would be over
    assert true_status(root).attempt == 1
    (disk / "filler").unlink()
    status = ended(root)
    assert (status.state, status.restarts) == (State.SUCCEEDED, 1)


def test_room_that_an_unfinished_save_holds_is_not_waited_for(
    disk: Path, make_job: MakeJob, start: Start
) -> None:
    worker = """
        if attempt:
            sys.exit(0)
        folder = root / "checkpoints"
        folder.mkdir(exist_ok=True)
        if index:
            forever()
        (folder / "ckpt-5.index").write_bytes(bytes(1 << 20))
        (folder / "checkpoint").write_text('model_checkpoint_path: "ckpt-5"')
        for half in (folder / "ckpt-9_temp", folder / ".worker-1" / "ckpt-9_temp"):
            half.mkdir(parents=True)
            (half / "part-00000-of-00001.data-00000-of-00001").write_bytes(bytes(29 << 20))
        fail(74, "the disk: cannot save the checkpoint of step 9 (No space left on device)")
        """
    root = start(make_job(worker))
    status = ended(root)
    assert (status.state, status.restarts) == (State.SUCCEEDED, 1)
    told = RunPaths(root).supervisor_log(1).read_text()
    assert "ckpt-9_temp was not finished when its writer ended: removed" in told
    assert "more are free there" not in told
    assert [p.name for p in RunPaths(root).checkpoints.glob("ckpt*")] == ["ckpt-5.index"]


def test_a_run_that_waits_for_room_can_be_cancelled(
    disk: Path, make_job: MakeJob, start: Start
) -> None:
    worker = """
        saved = root / "checkpoints" / f"ckpt-{index}.index"
        saved.parent.mkdir(exist_ok=True)
        saved.write_bytes(bytes(1 << 20))
        (root.parent / f"filler-{index}").write_bytes(bytes(29 << 20))
        fail(74, "the disk: cannot write (No space left on device)")
        """
    root = start(make_job(worker))
    until(root, lambda s: "more are free there" in s.message)
    local.cancel(root, timeout=5.0)
    assert ended(root).state is State.CANCELLED


def test_a_worker_whose_log_cannot_be_opened_costs_a_restart(
    make_job: MakeJob, start: Start
) -> None:
    worker = """
        if attempt == 0:
            (root / "logs" / "attempt-1" / "worker-1.log").mkdir(parents=True, exist_ok=True)
            sys.exit(1)
        if attempt == 1:
            forever()
        """
    root = start(make_job(worker))
    status = ended(root)
    assert (status.state, status.attempt, status.restarts) == (State.SUCCEEDED, 2, 2)
    log = RunPaths(root).worker_log(1, 1)
    told = RunPaths(root).supervisor_log(1).read_text()
    assert f"ended: storage: the supervisor: {log}: cannot write (Is a directory). " in told


def test_the_last_word_waits_for_a_file_system_that_does_not_answer(
    make_job: MakeJob, start: Start
) -> None:
    root = start(make_job("beat(100)", WAIT_FOR_GO))
    until(root, lambda s: s.state is State.EVALUATING)
    paths = RunPaths(root)
    with gone(paths.status):
        (root / "go").touch()
        deadline = time.monotonic() + 10
        while paths.supervisor_log(0).read_text().count("cannot write (Transport endpoint") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    status = ended(root)
    assert (status.state, status.reason) == (State.SUCCEEDED, Reason.SCORED)
    told = [row["state"] for row in read_jsonl(paths.events)]
    assert told == ["RUNNING", "EVALUATING", "SUCCEEDED"], "each once"


@pytest.mark.parametrize("module", ["launcher.runtime", "launcher.evaluate"])
def test_a_process_whose_folder_does_not_answer_says_so_in_one_line(
    tmp_path: Path, module: str
) -> None:
    with gone(tmp_path):
        argv = [sys.executable, "-m", module, str(tmp_path)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == WorkerExit.STORAGE
    assert "Transport endpoint is not connected" in done.stderr
    assert "Traceback" not in done.stderr
