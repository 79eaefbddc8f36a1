"""The series of checkpoints: of this model, of another, damaged, half-written, without room."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.errors import ConfigError, DivergedError, StorageError
from launcher.evaluate.follow import listed_steps
from tests.disks import gone, small

pytestmark = pytest.mark.tensorflow

DATA = "data-00000-of-00001"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Checkpoints of steps 3 and 5 of a "model" of one matrix."""
    paths = RunPaths(tmp_path_factory.mktemp("run"))
    for step in (3, 5):
        checkpoints(paths, step=step).save()
    return paths


@pytest.fixture
def run(saved: RunPaths, tmp_path: Path) -> RunPaths:
    """A copy. The names in the state file are relative, as a run that was copied needs them."""
    paths = RunPaths(tmp_path)
    shutil.copytree(saved.checkpoints, paths.checkpoints)
    return paths


def checkpoints(
    paths: RunPaths,
    *,
    step: int = 0,
    size: int = 50,
    name: str = "weight",
    said: list[str] | None = None,
) -> Any:
    import tensorflow as tf

    from launcher.runtime.checkpoints import Checkpoints

    model = tf.Module()
    setattr(model, name, tf.Variable(tf.random.normal([size, size])))
    optimizer = tf.train.Checkpoint(momentum=tf.Variable(tf.zeros([size, size])))
    count = tf.Variable(step, dtype=tf.int64)
    return Checkpoints(
        paths, step=count, model=model, optimizer=optimizer, keep=7, worker=0,
        say=(said if said is not None else []).append,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_is_continued(run: RunPaths, tmp_path: Path) -> None:
    before = names(run.checkpoints)
    assert checkpoints(run).restore_newest() == 5
    assert names(run.checkpoints) == before
    assert checkpoints(RunPaths(tmp_path / "new")).restore_newest() == 0


def test_what_killed_workers_of_a_larger_group_left_is_removed(run: RunPaths) -> None:
    before = names(run.checkpoints)
    left = run.checkpoints / ".worker-7" / "ckpt-9_temp"
    left.mkdir(parents=True)
    (left / "part-00000-of-00001.data-00000-of-00001").write_bytes(bytes(100))
    assert checkpoints(run).restore_newest() == 5
    assert names(run.checkpoints) == before


@pytest.mark.parametrize("other", [{"size": 51}, {"name": "kernel"}])
def test_one_of_another_model_is_told(saved: RunPaths, other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        checkpoints(saved, **other).restore_newest()
    (problem,) = caught.value.problems
    assert problem.place == str(saved.checkpoints / "ckpt-5")
    assert problem.what.startswith("this checkpoint is not of the run's model (")
    assert problem.remedy == "Submit with --replace to start anew, or under another name"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flip(path: Path) -> None:
    """One bit, in the middle of the matrix or of the index's first block."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if path.name.endswith(DATA) else 40] ^= 16
    path.write_bytes(content)


@pytest.mark.parametrize("part", [DATA, "index"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
def test_a_damaged_one_is_set_aside_for_the_one_before(
    run: RunPaths, part: str, damage: Callable[[Path], object]
) -> None:
    damage(run.checkpoints / f"ckpt-5.{part}")
    left = {path.name for path in run.checkpoints.glob("ckpt-5.*")}
    said: list[str] = []
    again = checkpoints(run, said=said)
    assert again.restore_newest() == 3
    assert set(names(run.damaged)) == left
    (line,) = said
    assert line.startswith("ckpt-5 is damaged (")
    assert line.endswith("): set aside in checkpoints/damaged")
    assert listed_steps(run.checkpoints) == [3], "the evaluator looks for no other"

    # Step 5 is trained again, and saved under its number.
    again._step.assign(5)
    again.save()
    assert listed_steps(run.checkpoints) == [3, 5]
    assert checkpoints(run).restore_newest() == 5


@pytest.mark.parametrize("text", [None, "", "\0\xff", 'model_checkpoint_path: "ckpt-9"\n'])
def test_the_state_file_is_written_anew_from_what_is_there(run: RunPaths, text: str | None) -> None:
    """Gone, empty, garbage, or naming a file that is not there."""
    state = run.checkpoints / "checkpoint"
    state.unlink()
    if text is not None:
        state.write_text(text)
    assert checkpoints(run).restore_newest() == 5
    assert listed_steps(run.checkpoints) == [3, 5]


def test_two_damaged_ones_are_both_set_aside(run: RunPaths) -> None:
    newest = checkpoints(run, step=8)
    newest.save()
    flip(run.checkpoints / f"ckpt-8.{DATA}")
    cut(run.checkpoints / "ckpt-5.index")
    said: list[str] = []
    assert checkpoints(run, said=said).restore_newest() == 3
    assert [line.split()[0] for line in said] == ["ckpt-8", "ckpt-5"]
    assert len(names(run.damaged)) == 4


def test_none_that_can_be_read_is_an_error_each_time(run: RunPaths) -> None:
    """And not a start from step 0."""
    cut(run.checkpoints / "ckpt-3.index")
    for path in run.checkpoints.glob("ckpt-5.*"):
        path.unlink()
    for _ in range(2):
        with pytest.raises(ConfigError) as caught:
            checkpoints(run).restore_newest()
        (problem,) = caught.value.problems
        assert problem.place == str(run.checkpoints)
        assert problem.what.startswith("none of the checkpoints can be read (ckpt-3: ")
        assert problem.what.endswith("; ckpt-5: its files are gone)")
        assert "submit with --resume, or submit with --replace" in problem.remedy
    assert not run.damaged.exists()


# A save of 400 MB, which takes long enough to be killed in it.
SAVES = """
import sys
from pathlib import Path
from launcher.contract import RunPaths
from tests.runtime.test_checkpoints import checkpoints
big = checkpoints(RunPaths(Path(sys.argv[1])), step=7, size=7000)
big.save()
"""


def test_a_save_that_is_killed_leaves_the_one_before(run: RunPaths) -> None:
    process = subprocess.Popen([sys.executable, "-c", SAVES, str(run.root)])
    while not list(run.checkpoints.glob("ckpt-7*")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (run.checkpoints / "ckpt-7.index").exists(), "killed too late to test anything"
    said: list[str] = []
    assert checkpoints(run, said=said).restore_newest() == 5
    assert said == ["ckpt-7_temp was not finished when its writer ended: removed"]
    assert not list(run.checkpoints.glob("*7*"))


@pytest.mark.parametrize("index", [None, cut, flip])
def test_a_first_save_that_is_killed_in_its_last_moment_leaves_nothing(
    tmp_path: Path, index: Callable[[Path], object] | None
) -> None:
    """TensorFlow has renamed the data and removes `ckpt-5_temp` when the index is written."""
    paths = RunPaths(tmp_path)
    checkpoints(paths, step=5).save()
    (paths.checkpoints / "checkpoint").unlink()
    (paths.checkpoints / "ckpt-5_temp").mkdir()
    (index or Path.unlink)(paths.checkpoints / "ckpt-5.index")
    said: list[str] = []
    assert checkpoints(paths, said=said).restore_newest() == 0
    assert said[0] == "ckpt-5 was not finished when its writer ended: removed"
    assert names(paths.checkpoints) == []


def test_one_that_is_killed_after_its_save_is_continued(run: RunPaths) -> None:
    (run.checkpoints / "ckpt-5_temp").mkdir()
    (run.checkpoints / "checkpoint").unlink()
    assert checkpoints(run).restore_newest() == 5


def test_the_only_one_is_lost_and_not_unfinished_once_it_was_listed(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    checkpoints(paths, step=5).save()
    (paths.checkpoints / "ckpt-5_temp").mkdir()
    (paths.checkpoints / "ckpt-5.index").unlink()
    for _ in range(2):
        with pytest.raises(ConfigError, match="none of the checkpoints can be read"):
            checkpoints(paths).restore_newest()
        assert f"ckpt-5.{DATA}" in names(paths.checkpoints)


@pytest.mark.parametrize("part", [DATA, "index", None])
def test_one_that_the_disk_does_not_give_is_not_damaged(
    run: RunPaths, part: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read /proc/self/mem fails with EIO; None: the whole folder is gone for a while."""
    monkeypatch.setattr("launcher.runtime.checkpoint_files._AGAIN_SECONDS", (0.01, 0.01))
    before = names(run.checkpoints)
    place = run.checkpoints / f"ckpt-5.{part}"
    if part:
        kept = place.rename(run.root / "kept")
        place.symlink_to("/proc/self/mem")
    with contextlib.ExitStack() as trouble:
        if not part:
            trouble.enter_context(gone(run.checkpoints))
        caught = trouble.enter_context(pytest.raises(StorageError))
        checkpoints(run).restore_newest()
    assert re.search("Input/output error|Transport endpoint is not connected", str(caught.value))
    if part:
        kept.replace(place)
    assert names(run.checkpoints) == before
    assert checkpoints(run).restore_newest() == 5


def test_one_that_the_disk_gives_a_moment_later_is_continued(run: RunPaths) -> None:
    place = run.checkpoints / f"ckpt-5.{DATA}"
    kept = place.rename(run.root / "kept")
    place.symlink_to("/proc/self/mem")
    mended = threading.Timer(0.2, kept.replace, [place])
    mended.start()
    assert checkpoints(run).restore_newest() == 5
    mended.join()


def test_a_clock_that_was_set_back_drops_none_from_the_list(run: RunPaths) -> None:
    """As a run leaves them that was saved an hour from now: TensorFlow's manager would keep those
    for ever that are not younger than its last preserved one, and list them no more."""
    later = time.time() + 3600
    lines = ['model_checkpoint_path: "ckpt-5"']
    lines += [f'all_model_checkpoint_paths: "ckpt-{step}"' for step in (3, 5)]
    lines += [f"all_model_checkpoint_timestamps: {later + step}" for step in (3, 5)]
    lines += [f"last_preserved_timestamp: {later}"]
    (run.checkpoints / "checkpoint").write_text("\n".join(lines) + "\n")
    for step in (3, 5):
        os.utime(run.checkpoints / f"ckpt-{step}.index", (later + step, later + step))
    again = checkpoints(run)
    assert again.restore_newest() == 5
    again._step.assign(7)
    again.save()
    assert listed_steps(run.checkpoints) == [3, 5, 7]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    with small(tmp_path / "disk", "4m") as folder:
        yield folder


def test_a_full_disk_keeps_the_one_before_good(small_disk: Path) -> None:
    paths = RunPaths(small_disk)
    ours = checkpoints(paths, step=3, size=400)  # 1.3 MB
    assert ours.restore_newest() == 0
    ours.save()
    full = small_disk / "full"
    full.write_bytes(bytes(os.statvfs(small_disk).f_bavail * 4096 - 500_000))
    before = names(paths.checkpoints)
    ours._step.assign(5)
    for _ in range(2):
        with pytest.raises(StorageError) as caught:
            ours.save()
        (problem,) = caught.value.problems
        assert problem.place == str(paths.checkpoints)
        assert problem.what.startswith("cannot save the checkpoint of step 5 (")
        assert "No space left on device" in problem.what
        assert names(paths.checkpoints) == before
    assert checkpoints(paths, size=400).restore_newest() == 3
    full.unlink()
    ours.save()
    assert listed_steps(paths.checkpoints) == [3, 5]


def test_weights_that_are_no_numbers_are_not_saved(run: RunPaths) -> None:
    ours = checkpoints(run, step=9)
    weight = ours._weights[0]
    weight.assign(weight / 0.0)
    with pytest.raises(DivergedError, match=r"step 9: the weights .* are no longer finite"):
        ours.save()
    assert checkpoints(run).restore_newest() == 5


def test_one_whose_next_step_is_not_finite_is_set_aside(run: RunPaths) -> None:
    checkpoints(run).distrust(4)
    assert not run.damaged.exists()
    said: list[str] = []
    checkpoints(run, said=said).distrust(5)
    assert said == ["ckpt-5 leads to a loss that is not finite: set aside in checkpoints/damaged"]
    assert listed_steps(run.checkpoints) == [3]
    checkpoints(run).distrust(3)
    assert checkpoints(run).restore_newest() == 0
