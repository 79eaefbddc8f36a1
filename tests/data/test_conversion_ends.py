"""A conversion that is interrupted, killed or out of room leaves nothing half done."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks import small

CONVERT = """
import sys
from pathlib import Path
from launcher.data import convert
from launcher.errors import LauncherError

annotations, images, out = map(Path, sys.argv[1:4])
try:
    shards, processes = int(sys.argv[4]), int(sys.argv[5])
    print(convert(annotations, images, out, "train", shards, processes).images)
except LauncherError as e:
    sys.exit(f"{type(e).__name__}: {e}")
"""
COPIES = 60  # 4,800 images: seconds of work


class Conversion:
    """A command in a process group of its own that takes seconds; `made/out` is its output."""

    def __init__(self, folder: Path, tiny: Path) -> None:
        content = json.loads((tiny / "annotations/instances_train2017.json").read_text())
        content["images"] = [
            image | {"id": copy * 10**7 + image["id"]}
            for copy in range(COPIES)
            for image in content["images"]
        ]
        self.made = folder / "made"
        self.out = self.made / "out"
        (folder / "long.json").write_text(json.dumps(content))
        (folder / "script.py").write_text(CONVERT)
        self.command = [
            sys.executable, str(folder / "script.py"),
            str(folder / "long.json"), str(tiny / "train2017"), str(self.out), "4",
        ]  # fmt: skip

    def start(self, processes: int = 2) -> "subprocess.Popen[str]":
        """Returns when a part of a shard is on disk."""
        process = subprocess.Popen(
            [*self.command, str(processes)],
            start_new_session=True,
            # A suite that runs in a shell's background has SIGINT ignored, and so its children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        within(60, self._began, "the conversion began")
        assert process.poll() is None
        return process

    def _began(self) -> bool:
        parts = self.made.glob(".out.making-*/.train.record*")
        return any(path.stat().st_size > 0 for path in parts)


def within(seconds: float, condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


def living(group: int) -> list[int]:
    """The processes of a process group that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _parent, of_group = stat.read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found


@pytest.fixture
def conversion(shared: Path, tmp_path: Path) -> Conversion:
    return Conversion(tmp_path, shared / "coco_tiny")


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("group", [True, False], ids=["group", "process"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_nothing(
    conversion: Conversion, number: int, group: bool, processes: int
) -> None:
    process = conversion.start(processes)
    # A terminal's Ctrl-C reaches every process of the group; `kill` only the one.
    os.killpg(process.pid, number) if group else process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode in (-number, 128 + number)
    assert not conversion.made.exists()
    within(10, lambda: not living(process.pid), "all processes are gone")
    assert "in serve" not in errors  # no traceback of a process of the pool
    if number == signal.SIGTERM:
        assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_while_each_process_writes_a_shard(conversion: Conversion, number: int) -> None:
    conversion.command[-1] = "8"  # four a process: each writes whole ones
    process = conversion.start(2)
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -number
    assert not conversion.out.exists()
    if number == signal.SIGINT:
        assert not conversion.made.exists()
    within(15, lambda: not living(process.pid), "all processes are gone")


def test_killed_leaves_no_output_and_no_process_and_the_next_run_sweeps(
    conversion: Conversion, shared: Path
) -> None:
    process = conversion.start()
    process.kill()
    process.communicate(timeout=30)
    assert not conversion.out.exists()
    within(10, lambda: not living(process.pid), "all processes are gone")
    left = [p.name for p in conversion.made.iterdir()]
    assert len(left) == 1
    assert left[0].startswith(".out.making-")

    tiny = shared / "coco_tiny"
    conversion.command[2] = str(tiny / "annotations/instances_train2017.json")
    done = subprocess.run([*conversion.command, "1"], capture_output=True, text=True, check=True)
    assert done.stdout == "80\n"
    assert [p.name for p in conversion.made.iterdir()] == ["out"]


def test_a_running_conversion_is_not_swept(conversion: Conversion, shared: Path) -> None:
    process = conversion.start()
    try:
        mine = next(conversion.made.glob(".out.making-*"))
        tiny = shared / "coco_tiny"
        conversion.command[2] = str(tiny / "annotations/instances_train2017.json")
        subprocess.run([*conversion.command, "1"], capture_output=True, check=True)
        assert mine.exists()
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert [p.name for p in conversion.made.iterdir()] == ["out"]


def test_a_killed_worker_is_told(conversion: Conversion) -> None:
    process = conversion.start()
    worker = next(pid for pid in living(process.pid) if pid != process.pid)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate(timeout=30)
    assert "RunFailedError: one of the processes was killed. Most often memory ran out" in errors
    assert not conversion.made.exists()


@pytest.mark.parametrize("shards", [4, 8])
def test_a_full_disk(conversion: Conversion, shards: int) -> None:
    """A limit on the size of files stands for it: write() fails in the same place."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))

    conversion.command[-1] = str(shards)
    done = subprocess.run(
        [*conversion.command, "2"],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    shard = conversion.out / f"train.record-00000-of-0000{shards}"
    remedy = "Free some space, or write to another folder"
    assert done.stderr == f"StorageError: {shard}: cannot write (File too large). {remedy}\n"
    assert not conversion.made.exists()


def test_a_really_full_disk(conversion: Conversion, tmp_path: Path) -> None:
    with small(tmp_path / "small", "4m") as disk:
        conversion.command[4] = str(disk / "out")
        done = subprocess.run(
            [*conversion.command, "2"], capture_output=True, text=True, check=False
        )
        assert "StorageError" in done.stderr
        assert "cannot write (No space left on device). Free some space" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(disk.iterdir()) == []
