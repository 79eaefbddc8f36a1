"""What happens to files, happening to a real run: two workers of a small SSD, the evaluator.

Checkpoints that are damaged, a disk without room, a loss that is not finite, a record that is bad.
What a single worker or no process at all is enough for is in tests/runtime.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import State
from launcher.odapi import pipeline
from launcher.records.index import Order, index_records
from launcher.run_record import read_bad_records, read_train_rows
from launcher.storage import read_jsonl
from tests.disks import small
from tests.end_to_end.small_run import GLOBAL_BATCH, SmallRun, make_run

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(900)]

BAD_IMAGE = 6 * GLOBAL_BATCH
"""In the run's order: the first of step 7. Worker 0 reads 16 images at a time, so it meets it when
it asks for those of step 5: the steps before that are saved."""

STALL_SECONDS = 150.0
"""Nothing stalls here, however slow the machine is."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    run = SmallRun(tmp_path)
    if run.paths.root.exists():
        run.end_all()


def cancelled_after(run: SmallRun, step: int) -> list[int]:
    """Cancel the run once it has done `step` steps; the steps of the checkpoints that it left."""
    run.wait(lambda: any(row["step"] >= step for row in run.rows()), f"step {step}")
    assert run.launcher("cancel", run.name).returncode == 0
    return run.saved()


def test_damaged_checkpoints_and_a_lost_state_file(folder: Path) -> None:
    """The newest has a flipped bit, the one before is cut, a third was being written."""
    steps = 80
    run = make_run(folder, steps=steps, checkpoint_steps=10, stall_seconds=STALL_SECONDS)
    run.submit()
    *_, good, cut, newest = cancelled_after(run, 22)
    checkpoints = run.paths.checkpoints
    flip_a_bit(checkpoints / f"ckpt-{newest}.data-00000-of-00001", -4000)
    os.truncate(checkpoints / f"ckpt-{cut}.index", 500)
    (checkpoints / "checkpoint").unlink()
    (checkpoints / f"ckpt-{newest + 1}_temp").mkdir()
    before = {row["step"]: row for row in read_train_rows(run.paths)}

    run.submit("--resume")
    assert run.wait_end()["state"] == State.SUCCEEDED, run.tell()
    log = run.log(1, "worker-0")
    assert f"ckpt-{newest} is damaged (" in log
    assert f"ckpt-{cut} is damaged (" in log
    assert f"ckpt-{newest + 1}_temp was not finished when its writer ended: removed" in log
    for worker in ("worker-0", "worker-1"):
        assert f"continuing after step {good}" in run.log(1, worker)
    assert "is damaged" not in run.log(1, "worker-1"), "only worker 0 moves files"
    named = [f"ckpt-{cut}", f"ckpt-{newest}"]
    told = json.loads(run.launcher("results", run.name, "--json").stdout)
    assert told["damaged_checkpoints"] == named
    assert f"damaged   {', '.join(named)} (set aside" in run.launcher("status", run.name).stdout

    # Steps count once, and those that were trained again saw the same images: the same losses.
    rows = read_train_rows(run.paths)
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    assert [row["images_seen"] for row in rows] == [r["step"] * GLOBAL_BATCH for r in rows]
    again = {row["step"]: row for row in rows if row["attempt"] == 1}
    both = sorted(before.keys() & again.keys())
    assert both == list(range(good + 1, newest + 1))
    for step in both:
        assert again[step]["loss"] == pytest.approx(before[step]["loss"], rel=0.02), step
    first, other = before[good + 1]["loss"], before[good + 2]["loss"]
    assert again[good + 1]["loss"] == pytest.approx(first, rel=1e-4)
    assert abs(other - first) / first > 1e-3, "another batch has another loss"
    scored = {row["step"] for row in read_jsonl(run.paths.eval_metrics) if "mAP" in row}
    assert steps in scored


def test_a_full_disk_stops_nothing_for_good(folder: Path) -> None:
    """The disk is filled between two attempts, so that no file of the first is still to go."""
    steps = 80
    run = make_run(folder, steps=steps, checkpoint_steps=10, stall_seconds=STALL_SECONDS)
    with small(folder / "runs", "160m") as disk:
        try:
            run.submit()
            saved = cancelled_after(run, 12)
            newest = saved[-1]
            assert newest < steps - 10
            room = os.statvfs(disk)
            filler = disk / "filler"
            filler.write_bytes(bytes(room.f_bavail * room.f_frsize - (1 << 20)))

            def waiting() -> dict[str, Any]:
                told = run.status()
                return told if "more are free there" in told["message"] else {}

            run.submit("--resume")
            told = run.wait(waiting, "the supervisor to wait for room", 120)
            assert (told["state"], told["restarts"]) == (State.RESTARTING, 1)
            assert told["reason"] == "storage"
            assert f"cannot save the checkpoint of step {newest + 10} (" in told["message"]
            assert "No space left on device" in told["message"]
            assert "Free some space, or choose another place with run_dir" in told["message"]
            assert run.saved() == saved
            files = [path.name for path in run.paths.checkpoints.iterdir()]
            assert not [name for name in files if f"ckpt-{newest + 10}" in name]
            filler.unlink()
            assert run.wait_end()["state"] == State.SUCCEEDED, run.tell()
            assert run.status()["restarts"] == 1
            last = run.status()["attempt"]
            assert f"continuing after step {newest}" in run.log(last, "worker-1")
            assert [row["step"] for row in read_train_rows(run.paths)] == list(range(1, steps + 1))
            assert not run.paths.damaged.exists()
        finally:
            run.end_all()


def test_a_loss_that_is_not_finite(folder: Path) -> None:
    """The rate is 1e12 from the tenth step on. A checkpoint is saved after every step."""
    run = make_run(folder, steps=40, checkpoint_steps=1, stall_seconds=STALL_SECONDS)
    message = pipeline.read(folder / "small.config")
    rate = message.train_config.optimizer.momentum_optimizer.learning_rate
    rate.ClearField("cosine_decay_learning_rate")
    rate.manual_step_learning_rate.initial_learning_rate = 0.01
    rate.manual_step_learning_rate.schedule.add(step=9, learning_rate=1e12)
    pipeline.write(folder / "small.config", message)
    run.submit()
    told = run.wait_end()
    assert (told["state"], told["reason"]) == (State.FAILED, "diverged"), run.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    found = re.search(r"step (\d+): the loss is .* at the learning rate 1e\+12; ", told["message"])
    assert found, told["message"]
    step = int(found[1])

    # The images of that step, whichever worker had them.
    files = sorted((folder / "data").glob("train.record-*"))
    index = index_records(files)
    order = Order(len(index), 0)
    images = range((step - 1) * GLOBAL_BATCH, step * GLOBAL_BATCH)
    ids = [source_id_of(index.read(order.at(i))) for i in images]
    assert f"source ids of its {GLOBAL_BATCH} images: {', '.join(ids)}" in told["message"]

    # The newest checkpoint is one from which a step with a finite loss was taken.
    losses = {row["step"]: row["loss"] for row in run.rows()}
    assert step not in losses
    newest = run.saved()[-1]
    assert newest < step - 1
    assert newest + 1 in losses
    values = finite_values(run.paths.checkpoints / f"ckpt-{newest}")
    assert all(values.values()), [name for name, finite in values.items() if not finite]


def source_id_of(record: bytes) -> str:
    from launcher.records import Example, source_id

    return source_id(Example.FromString(record))


def finite_values(prefix: Path) -> dict[str, bool]:
    """Of each variable of a checkpoint, whether all its numbers are finite."""
    import numpy as np
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(prefix))
    return {
        name: bool(np.isfinite(reader.get_tensor(name)).all())
        for name, kind in reader.get_variable_to_dtype_map().items()
        if kind == tf.float32
    }


def test_a_bad_record_in_the_middle_then_leave_to_skip_it(folder: Path) -> None:
    run = make_run(folder, steps=20, checkpoint_steps=1, stall_seconds=STALL_SECONDS)
    files = sorted((folder / "data").glob("train.record-*"))
    index = index_records(files)
    shard, number, offset = index.where(Order(len(index), 0).at(BAD_IMAGE))
    flip_a_bit(shard, offset + 200)
    place = f"{shard}: record {number} at byte {offset}"
    run.submit("--force")  # the check, which looks at so few records, would tell
    told = run.wait_end()
    assert (told["state"], told["reason"]) == (State.FAILED, "bad-data"), run.tell()
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert f"{place}: damaged data: its " in told["message"]
    assert "Copy or convert the file again" in told["message"]
    assert run.saved(), "it was met in the middle of the epoch"

    run.submit("--resume", "--allow-change", "--set", "data.max_bad_records=1")
    assert run.wait_end()["state"] == State.SUCCEEDED, run.tell()
    assert list(read_bad_records(run.paths)) == [place]
    logs = [run.log(1, worker) for worker in ("worker-0", "worker-1")]
    skipped = [log for log in logs if f"skipped bad record 1 of at most 1: {place}" in log]
    assert skipped, logs
    rows = read_train_rows(run.paths)
    assert [row["step"] for row in rows] == list(range(1, 21))
    assert rows[-1]["images_seen"] == 20 * GLOBAL_BATCH
    assert rows[-1]["bad_records"] == 1
    status = json.loads(run.launcher("status", run.name, "--json").stdout)
    assert status["bad_records"] == [place]
    assert f"bad records: {place}" in run.launcher("results", run.name).stdout


def flip_a_bit(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
