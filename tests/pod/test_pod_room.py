"""A full disk: the pod waits, and no start is used up. Real file systems, and real processes."""

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.contract import RunPaths
from launcher.pod import room
from launcher.pod.identity import Identity
from launcher.pod.room import Room
from launcher.storage import write_json
from tests.disks import small
from tests.pod.pods import child_of, end, mount, plan_of, start

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """The folder of all runs, of 64 MiB."""
    with small(tmp_path / "runs", "64m") as folder:
        yield folder


def fill(disk: Path, left: int) -> Path:
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    filler.write_bytes(bytes(shutil.disk_usage(disk).free - left))
    return filler


def checkpoint(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ckpt-5.index").touch()
    (folder / "ckpt-5.data-00000-of-00001").write_bytes(bytes(size))


def await_text(log: Path, text: str) -> None:
    deadline = time.monotonic() + 30
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "no log"
        time.sleep(0.05)


def test_a_worker_waits_and_goes_on_when_there_is_room(tmp_path: Path, disk: Path) -> None:
    plan = plan_of(disk, "cluster.workers=1")
    plans, paths = mount(plan, tmp_path / "plan"), RunPaths(plan.root)
    checkpoint(paths.checkpoints, 4 * MIB)
    write_json(paths.exit(0, "worker-0"), {"exit": 74})
    paths.worker_log(0, 0).touch()
    filler = fill(disk, MIB)
    process = start("worker", plan, plans, JOB_COMPLETION_INDEX="0")
    log = paths.worker_log(1, 0)
    await_text(log, "MiB more are free there")
    assert re.search(rf"{plan.root}: waits until (19|20) MiB more are free", log.read_text())
    filler.unlink()
    await_text(log, "there is room again")
    os.kill(child_of(process.pid), signal.SIGKILL)
    assert end(process)[0] == 137


@pytest.mark.parametrize("role", ["worker", "evaluator"])
def test_who_waits_leaves_when_it_is_told(tmp_path: Path, disk: Path, role: str) -> None:
    plan = plan_of(disk, "cluster.workers=1")
    plans, paths = mount(plan, tmp_path / "plan"), RunPaths(plan.root)
    me = Identity(role)
    checkpoint(paths.checkpoints, 4 * MIB)
    write_json(paths.exit(0, me.who), {"exit": 74})
    (paths.logs(0) / f"{me.who}.log").touch()
    fill(disk, MIB)
    process = start(role, plan, plans, JOB_COMPLETION_INDEX="0")
    await_text(paths.logs(1) / f"{me.who}.log", "MiB more are free there")
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code, said = end(process, 20)
    assert code == 143, said
    assert time.monotonic() - began < 5


def test_a_disk_without_a_byte_for_a_log_is_waited_for(tmp_path: Path, disk: Path) -> None:
    plan = plan_of(disk, "cluster.workers=1")
    plans, paths = mount(plan, tmp_path / "plan"), RunPaths(plan.root)
    checkpoint(paths.checkpoints, 4 * MIB)
    filler = fill(disk, 0)
    process = start("worker", plan, plans, JOB_COMPLETION_INDEX="0")
    time.sleep(3)
    assert process.poll() is None, "it waits"
    assert not paths.plan.exists()
    filler.unlink()
    await_text(paths.worker_log(0, 0), "worker-0, start 0")
    process.send_signal(signal.SIGTERM)
    said = end(process, 20)[1]
    assert "cannot write (No space left on device)" in said
    assert "MiB more are free there" in said


def room_of(paths: RunPaths, me: Identity, said: list[str] | None = None) -> Room:
    return Room(paths, me, 2, [].append if said is None else said.append)


def test_only_a_start_after_a_full_disk_waits(tmp_path: Path) -> None:
    """A group that was preempted goes on at once: the supervisor's rule."""
    paths, me = RunPaths(tmp_path), Identity("worker", 1)
    assert not room_of(paths, me).was_missing(0), "there was no start before"
    paths.logs(0).mkdir(parents=True)
    paths.worker_log(0, 1).touch()
    assert room_of(paths, me).was_missing(1), "it could not even write its last word"
    for code, missing in ((75, False), (143, False), (74, True)):
        write_json(paths.exit(0, me.who), {"exit": code})
        assert room_of(paths, me).was_missing(1) is missing
    paths.logs(1).mkdir()
    paths.worker_log(1, 1).touch()
    assert room_of(paths, me).was_missing(1), "its own log is of this start"


def test_who_waits_shows_that_it_lives(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "ALIVE_SECONDS", 0.0)
    monkeypatch.setattr(room, "_LOOK_SECONDS", 0.05)
    paths, said = RunPaths(disk / "demo"), list[str]()
    checkpoint(paths.checkpoints, 4 * MIB)
    filler = fill(disk, MIB)
    shown: list[float] = []

    def alive() -> None:
        shown.append(time.monotonic())
        if len(shown) == 3:
            filler.unlink()

    room_of(paths, Identity("worker"), said).wait(alive)
    assert len(shown) == 3
    assert said == [
        f"{paths.root}: waits until 23 MiB more are free there",
        "there is room again",
    ]


def test_what_a_killed_worker_was_writing_is_not_waited_for(disk: Path) -> None:
    """Each removes its own: the others may still write theirs."""
    paths = RunPaths(disk / "demo")
    checkpoint(paths.checkpoints, MIB)
    (paths.checkpoints / "checkpoint").write_text('all_model_checkpoint_paths: "ckpt-5"\n')
    half = paths.checkpoints / "ckpt-6_temp"
    half.mkdir()
    own, other = (paths.checkpoints / f".worker-{i}" for i in (1, 2))
    for folder in (half, own, other):
        (folder / "part").parent.mkdir(exist_ok=True)
        (folder / "part").write_bytes(bytes(8 * MIB))
    fill(disk, 12 * MIB)
    said: list[str] = []
    room_of(paths, Identity("worker", 1), said).wait(lambda: None)
    assert said == [".worker-1 was not finished when its writer ended: removed"]
    assert half.exists()
    assert other.exists()
    fill(disk, 12 * MIB)
    room_of(paths, Identity("worker", 0), said).wait(lambda: None)
    assert said[-1] == "ckpt-6_temp was not finished when its writer ended: removed"
    assert not half.exists()
    assert (paths.checkpoints / "ckpt-5.index").exists()
    assert other.exists()
