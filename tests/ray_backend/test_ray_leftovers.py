"""The files of a Ray whose keeper was killed, and those that must stay."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launcher.backends.ray.leftovers import ray_folder, remove_ray_folders

_KEEPER = """
import sys, time
from pathlib import Path
from launcher.backends.ray.leftovers import ray_folder
with ray_folder(Path(sys.argv[1])) as folder:
    (folder / "session").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def started() -> "Iterator[Callable[..., subprocess.Popen[str]]]":
    """Starts Python with these arguments; what is left in the end is killed."""
    with contextlib.ExitStack() as stack:

        def start(*argv: str) -> "subprocess.Popen[str]":
            argv = (sys.executable, *argv)
            process = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            return process

        yield start


def test_a_folder_goes_when_its_keeper_was_killed_and_not_before(
    tmp_path: Path, started: "Callable[..., subprocess.Popen[str]]"
) -> None:
    keeper = started("-c", _KEEPER, str(tmp_path))
    assert keeper.stdout
    folder = Path(keeper.stdout.readline().strip())
    assert (folder / "session").is_dir()
    assert remove_ray_folders(tmp_path) == []
    keeper.kill()
    keeper.wait()
    assert folder.is_dir()
    assert remove_ray_folders(tmp_path) == [folder]
    assert not folder.exists()


def test_a_folder_stays_while_a_process_of_its_ray_is_there(
    tmp_path: Path, started: "Callable[..., subprocess.Popen[str]]"
) -> None:
    folder = tmp_path / "launcher-ray-abc"
    folder.mkdir()
    (folder / "keeper.lock").touch()
    ray = started("-c", "import time; print(flush=True); time.sleep(600)", f"--temp-dir={folder}")
    assert ray.stdout
    ray.stdout.readline()
    assert remove_ray_folders(tmp_path) == []
    ray.kill()
    ray.wait()
    assert remove_ray_folders(tmp_path) == [folder]


def test_what_has_no_lock_is_nobodys_to_remove(tmp_path: Path) -> None:
    (tmp_path / "launcher-ray-being-made").mkdir()
    (tmp_path / "launcher-ray-file").touch()
    assert remove_ray_folders(tmp_path) == []


def test_it_is_removed_in_the_end(tmp_path: Path) -> None:
    with ray_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert not list(tmp_path.iterdir())
