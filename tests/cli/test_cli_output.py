"""Where -o leads: links, FIFOs and devices stay what they are, and what cannot be written is told
with -o."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.report import made_run

from .conftest import Launcher


@pytest.fixture
def good(work: Path) -> Path:
    return made_run.make(work / "runs" / "good", name="good").root


COMMANDS = [
    ("results", "good", "--html"),
    ("results", "good", "--csv"),
    ("compare", "good", "good", "--html"),
    ("render", "demo.yaml"),
    ("check", "demo.yaml", "--fix"),
]


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_link_stays_a_link(
    inside: Launcher, work: Path, good: Path, spec_file: Path, args: tuple[str, ...]
) -> None:
    target = work / "there" / "text"
    target.parent.mkdir()
    target.write_text("old")
    link = work / "link"
    link.symlink_to("there/text")
    done = inside(*args, "-o", "link")
    assert "cannot write" not in done.stderr
    assert link.is_symlink()
    assert len(target.read_text()) > 100
    assert os.listdir(target.parent) == ["text"]  # noqa: PTH208
    target.unlink()  # one that leads to what is not there yet, as > of a shell
    inside(*args, "-o", "link")
    assert len(target.read_text()) > 100


def test_a_linked_spec_is_mended_in_its_place(
    inside: Launcher, work: Path, spec_file: Path
) -> None:
    target = spec_file.rename(work / "real.yaml")
    target.write_text(target.read_text() + "# to be kept\n")
    spec_file.symlink_to("real.yaml")
    done = inside("check", "demo.yaml", "--fix", "-i")
    assert "written to demo.yaml" in done.stderr
    assert spec_file.is_symlink()
    assert target.read_text() == spec_file.read_text()


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_a_fifo_gets_the_text(
    inside: Launcher, work: Path, good: Path, spec_file: Path, args: tuple[str, ...]
) -> None:
    fifo = work / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()), daemon=True)
    reader.start()
    done = inside(*args, "-o", "fifo")
    reader.join(10)
    assert "cannot write" not in done.stderr
    assert stat.S_ISFIFO(fifo.lstat().st_mode)
    assert len(read[0]) > 100


def test_what_a_shell_appends_to_is_kept(work: Path, env: dict[str, str], good: Path) -> None:
    notes = work / "notes.md"
    notes.write_text("before\n")
    with notes.open("a") as file:
        subprocess.run(
            [sys.executable, "-m", "launcher", "results", "good", "--csv", "-o", "/dev/stdout"],
            cwd=work, env=env, stdout=file, check=True, timeout=60,
        )  # fmt: skip
    first, second, *rest = notes.read_text().splitlines()
    assert first == "before"
    assert second.startswith("step,images_seen")
    assert rest[-1] == "/dev/stdout"


@pytest.mark.parametrize("args", [*COMMANDS, ("plan", "demo.yaml")], ids=" ".join)
def test_the_remedy_is_another_o(
    inside: Launcher, work: Path, good: Path, spec_file: Path, args: tuple[str, ...]
) -> None:
    (work / "file").touch()
    done = inside(*args, "-o", "file/x")
    assert done.returncode == 1
    told = done.stderr.splitlines()[-1]
    assert told.startswith("error: file/x")
    assert told.lower().endswith("choose another place with -o")
