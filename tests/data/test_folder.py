"""A folder that appears complete or not at all."""

import fcntl
import multiprocessing
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.data.folder import FolderExistsError, complete_folder
from launcher.errors import StorageError, UsageError


def make(out: Path, text: str = "new", force: bool = False) -> None:
    with complete_folder(out, force=force) as folder:
        (folder / "label_map.pbtxt").write_text(text)
        assert folder.parent == out.parent
        assert text == "new" or not out.exists()


def test_it_appears_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b[1]" / "out"
    make(out)
    assert (out / "label_map.pbtxt").read_text() == "new"
    assert [p.name for p in out.parent.iterdir()] == ["out"]
    assert out.stat().st_mode & 0o777 == 0o755


def fail(out: Path, force: bool = False) -> None:
    with complete_folder(out, force=force) as folder:
        (folder / "label_map.pbtxt").write_text("half")
        raise RuntimeError


def test_an_error_leaves_nothing_not_even_parents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(RuntimeError):
        fail(tmp_path / "a" / "b" / "out")
    assert list(tmp_path.rglob("*")) == [tmp_path / "a"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    make(out)
    assert [p.name for p in out.iterdir()] == ["label_map.pbtxt"]


def test_an_existing_one_is_replaced_only_by_force(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    (out / "train.record-00000-of-00001").write_text("old")
    with pytest.raises(FolderExistsError, match=r"out: exists already, with 2 files .* --force"):
        make(out)
    with pytest.raises(RuntimeError):
        fail(out, force=True)
    assert len(list(out.iterdir())) == 2
    make(out, force=True)
    assert [p.name for p in out.iterdir()] == ["label_map.pbtxt"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_force_deletes_only_what_this_program_writes(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "label_map.pbtxt").write_text("")
    with pytest.raises(UsageError, match=r"holds files of something else, such as thesis.tex"):
        make(tmp_path, force=True)
    assert (tmp_path / "thesis.tex").exists()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="out: is a file, not a folder"):
        make(tmp_path / "out", force=True)


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/out: cannot write \((Not a directory|File exis)"):
        make(tmp_path / "file" / "out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_parent_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied"):
        make(tmp_path / "out")


def test_another_process_was_faster(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def slow() -> None:
        with complete_folder(out) as folder:
            (folder / "label_map.pbtxt").write_text("slow")
            make(out, "fast")

    with pytest.raises(FolderExistsError, match="was made by another process meanwhile"):
        slow()
    assert (out / "label_map.pbtxt").read_text() == "fast"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_force_puts_the_old_one_back_when_the_new_one_cannot_come(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    make(out)
    with pytest.raises(StorageError), complete_folder(out, force=True) as folder:
        folder.rmdir()  # so that renaming it fails
    assert (out / "label_map.pbtxt").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_another_process_sweeps_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between making and locking, which chance hardly ever hits."""
    sweepers = []
    mkdtemp = tempfile.mkdtemp

    def lock_the_first(*args: Any, **kwargs: Any) -> str:
        made = mkdtemp(*args, **kwargs)
        if not sweepers:
            sweepers.append(os.open(made, os.O_RDONLY))
            fcntl.flock(sweepers[0], fcntl.LOCK_EX)
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", lock_the_first)
    with complete_folder(tmp_path / "out") as folder:
        assert len(list(tmp_path.iterdir())) == 2
        assert not os.path.samestat(folder.stat(), os.fstat(sweepers[0]))
    os.close(sweepers[0])


def _make_at_once(out: Path, start: Any, answers: Any) -> None:
    start.wait()
    try:
        make(out)
        answers.put("made")
    except FolderExistsError:
        answers.put("exists")


def test_many_at_once_make_one(tmp_path: Path) -> None:
    """No process takes another's folder, just made and not yet locked, for a left-over."""
    context = multiprocessing.get_context("fork")
    for round_ in range(20):
        out = tmp_path / str(round_) / "out"
        start, answers = context.Barrier(5), context.Queue()
        processes = [
            context.Process(target=_make_at_once, args=(out, start, answers)) for _ in range(5)
        ]
        for process in processes:
            process.start()
        got = [answers.get(timeout=30) for _ in processes]
        for process in processes:
            process.join()
        assert sorted(got) == ["exists"] * 4 + ["made"]
        assert [p.name for p in out.parent.iterdir()] == ["out"]


def test_it_works_in_a_thread(tmp_path: Path) -> None:
    thread = threading.Thread(target=make, args=(tmp_path / "out",))
    thread.start()
    thread.join()
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize("force", [False, True])
def test_what_is_read_is_not_replaced(tmp_path: Path, force: bool) -> None:
    """Under whatever name: of itself, of its folder, by a link from there or to it."""
    out = tmp_path / "out"
    make(out)
    (tmp_path / "link").symlink_to("out")
    (tmp_path / "to_it").symlink_to("out/label_map.pbtxt")
    (tmp_path / "elsewhere").touch()
    (out / "train.record-00000-of-00001").symlink_to("../elsewhere")
    for where in (out, tmp_path / "link", out / ".." / "out"):
        for path in (
            out / "label_map.pbtxt",
            tmp_path / "link" / "label_map.pbtxt",
            tmp_path / "to_it",
            out / "train.record-00000-of-00001",
            out,
        ):
            with (
                pytest.raises(UsageError, match=f"^{out}: holds what is read, {path.name}, and"),
                complete_folder(where, force=force, inputs=[tmp_path / "elsewhere", path]),
            ):
                pass
    assert (out / "label_map.pbtxt").read_text() == "new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["elsewhere", "link", "out", "to_it"]


def test_what_is_read_elsewhere_is_no_hindrance(tmp_path: Path) -> None:
    beside, inner = tmp_path / "out-2", tmp_path / "in" / "out"
    beside.touch()
    with complete_folder(inner, inputs=[beside, tmp_path / "in", tmp_path / "gone"]):
        pass
    assert inner.is_dir()


def test_a_link_that_leads_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StorageError, match="loop/out: cannot write"):
        make(tmp_path / "loop" / "out")
    with complete_folder(tmp_path / "out", inputs=[tmp_path / "loop"]):
        pass
