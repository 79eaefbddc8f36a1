"""What killed savers leave, told from checkpoints that are whole, damaged or lost."""

from pathlib import Path

import pytest

from launcher.backends.room import remove_unfinished
from launcher.contract import RunPaths
from launcher.errors import StorageError
from launcher.records import unfinished
from launcher.records.checkpoint import _MAGIC
from tests.disks import gone

DATA = "data-00000-of-00001"
WHOLE = b"CHECKPOINTABLE_OBJECT_GRAPH" + _MAGIC


def save(folder: Path, step: int, index: bytes | None = WHOLE, *, temp: bool = False) -> None:
    """As far as a save came."""
    folder.mkdir(exist_ok=True)
    (folder / f"ckpt-{step}.{DATA}").write_bytes(bytes(100))
    if index is not None:
        (folder / f"ckpt-{step}.index").write_bytes(index)
    if temp:
        (folder / f"ckpt-{step}_temp").mkdir()


def name(folder: Path, *steps: int) -> None:
    lines = [f'all_model_checkpoint_paths: "ckpt-{step}"\n' for step in steps]
    (folder / unfinished.STATE_FILE).write_text("".join(lines))


def test_only_what_was_never_finished_is_removed(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2, index=None)  # named: damaged since
    save(tmp_path, 3, index=WHOLE[:5], temp=True)  # named, too
    name(tmp_path, 1, 2, 3)
    stays = unfinished.listing(tmp_path)
    save(tmp_path, 4, index=WHOLE[:5])  # nothing says that it was not finished
    save(tmp_path, 5, temp=True)  # killed between its last byte and the state file
    stays = sorted({*stays, *unfinished.listing(tmp_path)} - {"ckpt-3_temp", "ckpt-5_temp"})
    save(tmp_path, 6, index=None, temp=True)
    save(tmp_path, 7, index=WHOLE[:5], temp=True)
    save(tmp_path, 8, index=None)
    (tmp_path / "ckpt-9_temp").mkdir()
    (tmp_path / "checkpoint.tmp0815").touch()
    save(tmp_path / ".worker-1", 9, temp=True)
    assert unfinished.begun(tmp_path) == {5, 6, 7, 8, 9}
    removed = unfinished.clear(tmp_path)
    assert {".worker-1", "ckpt-6", "ckpt-7", "ckpt-8", "ckpt-9_temp"} <= set(removed)
    assert unfinished.listing(tmp_path) == stays
    assert unfinished.clear(tmp_path) == []


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert unfinished.clear(tmp_path / "checkpoints") == []
    assert unfinished.steps(tmp_path / "checkpoints") == []


def test_a_folder_that_does_not_answer_is_not_an_empty_one(tmp_path: Path) -> None:
    with gone(tmp_path):
        for ask in (unfinished.steps, unfinished.named, unfinished.begun, unfinished.clear):
            with pytest.raises(StorageError, match="cannot read"):
                ask(tmp_path)


def test_what_its_disk_does_not_let_go_keeps_nothing_else(tmp_path: Path) -> None:
    """A mount point cannot be removed, and this one not even be looked at."""
    save(tmp_path, 3, index=None, temp=True)
    parts = [tmp_path / "checkpoint.tmp0815", tmp_path / ".worker-1"]
    parts[0].touch()
    parts[1].mkdir()
    with gone(parts[0]), gone(parts[1]):
        assert unfinished.clear(tmp_path) == ["ckpt-3", "ckpt-3_temp"]
        assert unfinished.listing(tmp_path) == [".worker-1", "checkpoint.tmp0815"]
    assert set(unfinished.clear(tmp_path)) == {path.name for path in parts}


def test_an_unfinished_checkpoint_that_stays_keeps_what_tells_that(tmp_path: Path) -> None:
    folder, told = RunPaths(tmp_path).checkpoints, list[str]()
    save(folder, 4, index=WHOLE[:5], temp=True)
    with gone(folder / f"ckpt-4.{DATA}"):
        remove_unfinished(RunPaths(tmp_path), told.append)
        assert unfinished.begun(folder) == {4}
        assert not (folder / "ckpt-4.index").exists(), "first of all"
    remove_unfinished(RunPaths(tmp_path), told.append)
    assert told[0].startswith(f"error: {folder}/ckpt-4.{DATA}: cannot be removed (")
    removed = "was not finished when its writer ended: removed"
    assert told[1:] == [f"ckpt-4 {removed}", f"ckpt-4_temp {removed}"]
    assert unfinished.listing(folder) == []
