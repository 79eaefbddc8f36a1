import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.contract import RunPaths
from launcher.errors import StorageError, UnreadableCheckpointError
from launcher.evaluate import follow
from launcher.evaluate.attempts import Attempts
from launcher.storage import append_jsonl
from tests.disks import gone


@pytest.mark.parametrize(
    ("every", "listed", "scored", "step"),
    [
        ("checkpoint", [], [], None),
        ("checkpoint", [100, 200, 300], [], 100),
        ("checkpoint", [100, 200, 300], [100], 200),
        ("checkpoint", [200, 300], [100, 200, 300], None),
        ("checkpoint", [900, 1000], [900], 1000),
        ("newest", [100, 200, 300], [], 300),
        ("newest", [100, 200, 300], [300], None),
        ("newest", [100, 200, 300, 400], [300], 400),
        ("newest", [900, 1000], [900], 1000),
        ("last", [100, 200, 900], [], None),
        ("last", [900, 1000], [], 1000),
        ("last", [900, 1000], [1000], None),
        ("checkpoint", [1000, 1100], [1000], None),  # 1100 is no step of this plan
    ],
)
def test_next_step(every: str, listed: list[int], scored: list[int], step: int | None) -> None:
    assert follow.next_step(listed, scored, 1000, every) == step


steps = st.sets(st.integers(1, 10).map(lambda i: i * 100))


@given(steps, steps, st.sampled_from(["checkpoint", "newest", "last"]))
def test_the_last_checkpoint_is_always_scored_in_the_end(
    listed: set[int], scored: set[int], every: str
) -> None:
    listed.add(1000)
    for _ in range(11):
        step = follow.next_step(listed, scored, 1000, every)
        if step is None:
            break
        assert step in listed
        assert step not in scored
        scored.add(step)
    assert 1000 in scored
    assert step is None


def test_newest_open() -> None:
    assert follow.newest_open([], []) is None
    assert follow.newest_open([100, 200], [100]) == 200
    assert follow.newest_open([100, 200], [200]) is None


def make(folder: Path, *steps: int, text: str = "") -> None:
    """Files as tf.train.CheckpointManager leaves them."""
    folder.mkdir(exist_ok=True)
    for step in steps:
        (folder / f"ckpt-{step}.index").write_text(text)
        (folder / f"ckpt-{step}.data-00000-of-00001").write_text(f"{step}{text}")
    lines = [f'model_checkpoint_path: "ckpt-{steps[-1]}"']
    lines += [f'all_model_checkpoint_paths: "ckpt-{step}"' for step in steps]
    (folder / "checkpoint").write_text("\n".join([*lines, "last_preserved_timestamp: 1.5", ""]))


def test_listed_steps(tmp_path: Path) -> None:
    assert follow.listed_steps(tmp_path) == []
    make(tmp_path, 100, 1000, 200)
    (tmp_path / "ckpt-300.index").touch()  # being written: not in the state file yet
    assert follow.listed_steps(tmp_path) == [100, 200, 1000]
    (tmp_path / "ckpt-100.index").unlink()  # deleted: still in the state file
    assert follow.listed_steps(tmp_path) == [200, 1000]


def test_listed_steps_of_absolute_paths(tmp_path: Path) -> None:
    (tmp_path / "ckpt-7.index").touch()
    (tmp_path / "checkpoint").write_text('all_model_checkpoint_paths: "/a/run 1/ckpt-7"\n')
    assert follow.listed_steps(tmp_path) == [7]


def test_digest_is_of_all_data_files(tmp_path: Path) -> None:
    make(tmp_path, 100)
    one = follow.digest(tmp_path, 100)
    assert one == "ad57366865126e55649ecb23ae1d48887544976efea46a48eb5d85a6eeb4d306"  # of "100"
    (tmp_path / "ckpt-100.data-00001-of-00002").write_text("more")
    assert follow.digest(tmp_path, 100) != one
    with pytest.raises(FileNotFoundError):
        follow.digest(tmp_path, 200)
    (tmp_path / "ckpt-300.index").touch()
    with pytest.raises(UnreadableCheckpointError, match=r"ckpt-300: .*its data file is missing"):
        follow.digest(tmp_path, 300)


def test_a_disk_that_does_not_answer_is_told(tmp_path: Path) -> None:
    folder, metrics = RunPaths(tmp_path).checkpoints, tmp_path / "eval.jsonl"
    folder.mkdir()
    append_jsonl(metrics, {"step": 100, "sha256": "of before"})
    with gone(folder):
        with pytest.raises(StorageError, match="cannot read"):
            follow.listed_steps(folder)
        with pytest.raises(StorageError, match="cannot read"):
            follow.Ledger(metrics, folder).scored([100])
        with pytest.raises(StorageError, match="cannot read"):
            Attempts(RunPaths(tmp_path)).begin(100)
        with pytest.raises(UnreadableCheckpointError, match="ckpt-100: the checkpoint cannot be"):
            follow.digest(folder, 100)


def test_ledger(tmp_path: Path) -> None:
    folder, metrics = tmp_path / "checkpoints", tmp_path / "eval.jsonl"
    make(folder, 200, 300)
    ledger = follow.Ledger(metrics, folder)
    assert ledger.scored([200, 300]) == set()
    for step in (100, 200):
        sha256 = follow.digest(folder, step) if step != 100 else "of a checkpoint that is gone"
        append_jsonl(metrics, {"step": step, "sha256": sha256})
    with metrics.open("a") as file:
        file.write('{"step": 300, "sha2')  # a killed writer's line
    assert ledger.scored([200, 300]) == {100, 200}


def test_a_step_that_was_trained_again_is_scored_again(tmp_path: Path) -> None:
    folder, metrics = tmp_path / "checkpoints", tmp_path / "eval.jsonl"
    make(folder, 200)
    ledger = follow.Ledger(metrics, folder)
    append_jsonl(metrics, {"step": 200, "sha256": follow.digest(folder, 200)})
    assert ledger.scored([200]) == {200}
    make(folder, 200, text="other weights")
    os.utime(folder / "ckpt-200.index", (1, 1))
    assert ledger.scored([200]) == set()
    append_jsonl(metrics, {"step": 200, "sha256": follow.digest(folder, 200)})
    assert ledger.scored([200]) == {200}


def test_the_ledger_is_parsed_again_only_when_it_changed(tmp_path: Path) -> None:
    metrics = tmp_path / "eval.jsonl"
    ledger = follow.Ledger(metrics, tmp_path)
    append_jsonl(metrics, {"step": 100, "sha256": ""})
    assert (ledger.scored([]), ledger.failed([])) == ({100}, set())
    before = metrics.stat()
    with metrics.open("r+") as file:  # other rows that the file's size and time do not tell of
        file.write('{"step": 200')
    os.utime(metrics, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ledger.scored([]) == {100}
    append_jsonl(metrics, {"step": 300, "error": "why"})
    assert (ledger.scored([]), ledger.failed([])) == ({200}, {300})
    metrics.unlink()
    assert ledger.scored([]) == set()
