"""What a conversion announces is on the disk."""

import os
from pathlib import Path
from typing import Any

import pytest

from launcher.data import convert
from launcher.data.syncing import Syncing
from launcher.errors import StorageError


@pytest.mark.parametrize("shards", [2, 4])  # 4: each process writes whole shards
def test_every_shard_is_synced_before_the_folder_appears(
    coco: Any, monkeypatch: pytest.MonkeyPatch, shards: int
) -> None:
    synced = []
    sync = os.fsync

    def note(handle: int) -> None:
        assert not coco.out.exists()
        synced.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    report = convert(coco.annotations, coco.images, coco.out, "train", shards, processes=1)
    names = {path.name for path in report.files}
    assert len(names) == shards
    assert names <= set(synced)


def sync(*paths: Path, fail: bool = False) -> None:
    with Syncing() as syncing:
        for path in paths:
            syncing.add(path)
        if fail:
            raise ZeroDivisionError


def test_an_error_is_raised_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    with pytest.raises(StorageError, match=r"b: cannot write \(No such file"):
        sync(tmp_path / "a", tmp_path / "b", tmp_path / "a")


def test_another_error_is_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        sync(tmp_path / "missing", fail=True)
