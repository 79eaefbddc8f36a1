"""One worker as a process: `python -m launcher.runtime RUN_ROOT`, its exit codes and its record."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.odapi import pipeline
from launcher.storage import read_json, read_jsonl, write_json
from launcher.worker_config import WorkerConfig
from tests.runtime.small_pipelines import demo_pipeline

pytestmark = pytest.mark.tensorflow

BATCH = 8


def make_run(root: Path, message: Any, *, steps: int, **changed: Any) -> RunPaths:
    paths = RunPaths(root)
    pipeline.write(paths.pipeline, message)
    values = {"per_replica_batch": BATCH, "accumulation_steps": 1, **changed}
    config = WorkerConfig(
        name=root.name, workers=1, gpus_per_worker=0, replicas=1, global_batch=BATCH,
        learning_rate=0.05, warmup_learning_rate=0.005, warmup_steps=max(1, steps // 4),
        total_steps=steps, **values,
    )  # fmt: skip
    write_json(paths.plan, {"worker_config": config.to_json()})
    return paths


def start(paths: RunPaths, **environment: str) -> "subprocess.Popen[str]":
    env = {k: v for k, v in os.environ.items() if k != "TF_CONFIG"}
    return subprocess.Popen(
        [sys.executable, "-m", "launcher.runtime", str(paths.root)],
        env=env | {"TF_CPP_MIN_LOG_LEVEL": "2"} | environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(paths: RunPaths, seconds: float = 300, **environment: str) -> tuple[int, str]:
    process = start(paths, **environment)
    _, log = process.communicate(timeout=seconds)
    return process.returncode, log


def stop_after(step: int, paths: RunPaths, **environment: str) -> tuple[int, str]:
    """By SIGTERM."""
    process = start(paths, **environment)
    while not (progress := read_json(paths.progress(0))) or progress["step"] < step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=120)
    return process.returncode, log


@pytest.fixture(scope="module")
def stopped_and_resumed(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """40 steps, stopped by SIGTERM on the way and continued by a second attempt."""
    message = demo_pipeline(shapes, batch=BATCH, steps=40)
    paths = make_run(tmp_path_factory.mktemp("run"), message, steps=40, checkpoint_steps=10)
    temporary = paths.root.parent / "temporary"
    temporary.mkdir()
    first = stop_after(3, paths, TMPDIR=str(temporary))
    return paths, first, finish(paths, LAUNCHER_ATTEMPT="1", TMPDIR=str(temporary))


def test_sigterm_saves_a_checkpoint_and_leaves_with_143(stopped_and_resumed: Any) -> None:
    paths, (code, log), _ = stopped_and_resumed
    assert code == 143, log
    stopped = max(r["step"] for r in read_jsonl(paths.train_metrics) if r["attempt"] == 0)
    assert f"stopped on request after step {stopped}" in log
    assert (paths.checkpoints / f"ckpt-{stopped}.index").exists()


def test_the_next_attempt_continues_and_takes_exactly_the_planned_steps(
    stopped_and_resumed: Any,
) -> None:
    paths, _, (code, log) = stopped_and_resumed
    assert code == 0, log
    rows = read_jsonl(paths.train_metrics)
    assert [r["step"] for r in rows] == list(range(1, 41))
    assert rows[-1]["images_seen"] == 40 * BATCH
    assert "continuing after step" in log
    assert (paths.checkpoints / "ckpt-40.index").exists()
    assert read_json(paths.progress(0))["step"] == 40


def test_it_leaves_no_temporary_files(stopped_and_resumed: Any) -> None:
    """Those that AutoGraph writes are removed by atexit, which a worker does not wait for."""
    paths, _, _ = stopped_and_resumed
    assert not list((paths.root.parent / "temporary").iterdir())


def test_each_start_says_with_what_it_computes(stopped_and_resumed: Any) -> None:
    paths, _, _ = stopped_and_resumed
    first, second = read_jsonl(paths.provenance)
    assert (first["role"], first["attempt"], second["attempt"]) == ("worker", 0, 1)
    assert first["data"] == second["data"]
    assert first["data"]["records"] > 0
    row = read_jsonl(paths.train_metrics)[-1]
    assert 0 <= row["input_share"] <= 1
    assert row["own_seconds"] > 0


def test_checkpoints_are_one_series_every_ten_steps(stopped_and_resumed: Any) -> None:
    paths, _, _ = stopped_and_resumed
    saved = {int(p.stem.removeprefix("ckpt-")) for p in paths.checkpoints.glob("ckpt-*.index")}
    assert 40 in saved
    assert len(saved) >= 4
    assert (paths.checkpoints / "checkpoint").exists()


def test_fine_tuning_says_what_was_restored(
    stopped_and_resumed: Any, shapes: Path, tmp_path: Path
) -> None:
    trained, _, _ = stopped_and_resumed
    message = demo_pipeline(shapes, batch=BATCH, steps=2)
    train = message.train_config
    train.fine_tune_checkpoint = str(trained.checkpoints / "ckpt-40")
    train.fine_tune_checkpoint_type = "detection"
    train.fine_tune_checkpoint_version = 2
    code, log = finish(make_run(tmp_path, message, steps=2))
    assert code == 0, log
    line = next(x for x in log.splitlines() if "fine-tuning:" in x)
    restored, of = (
        int(line.split("fine-tuning: ")[1].split()[0]),
        int(line.split(" of ")[1].split()[0]),
    )
    assert 0 < restored < of, "the heads are not part of 'detection'"


def test_a_missing_fine_tune_checkpoint_is_bad_configuration(shapes: Path, tmp_path: Path) -> None:
    message = demo_pipeline(shapes, batch=BATCH, steps=2)
    message.train_config.fine_tune_checkpoint = "/nowhere/ckpt-0"
    message.train_config.fine_tune_checkpoint_type = "full"
    paths = make_run(tmp_path, message, steps=2)
    code, log = finish(paths)
    assert code == 64
    failure = json.loads(paths.failure("worker").read_text())
    assert failure["exit"] == 64
    assert failure["message"].startswith("/nowhere/ckpt-0: no such checkpoint (")
    assert "Traceback" not in log


def test_an_error_that_nobody_foresaw_leaves_as_quickly_and_with_its_traceback(
    shapes: Path, tmp_path: Path
) -> None:
    """TensorFlow's own shutdown would wait for peers that may be gone."""
    paths = make_run(tmp_path / "run", demo_pipeline(shapes, batch=BATCH, steps=2), steps=2)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    code, log = finish(paths, LAUNCHER_ATTEMPT="none", TMPDIR=str(temporary))
    assert code == 1
    assert log.rstrip().endswith("ValueError: invalid literal for int() with base 10: 'none'")
    assert not list(temporary.iterdir()), "so it went by the same way as the others"


def test_a_loss_that_is_not_finite_ends_with_66_and_saves_nothing(
    shapes: Path, tmp_path: Path
) -> None:
    message = demo_pipeline(shapes, batch=BATCH, steps=20)
    cosine = message.train_config.optimizer.momentum_optimizer.learning_rate
    cosine.cosine_decay_learning_rate.learning_rate_base = 1e12
    cosine.cosine_decay_learning_rate.warmup_learning_rate = 1e12
    paths = make_run(tmp_path, message, steps=20)
    code, log = finish(paths)
    assert code == 66, log
    failure = json.loads(paths.failure("worker").read_text())["message"]
    assert "the loss is" in failure
    assert "learning rate 1e+12" in failure
    assert not list(paths.checkpoints.glob("ckpt-*"))


def test_a_pipeline_unlike_the_plan_ends_with_64(shapes: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, demo_pipeline(shapes, batch=4, steps=20), steps=20)
    code, log = finish(paths)
    assert code == 64
    assert "train_config.batch_size is 4, the plan says 8" in log
    assert "Traceback" not in log


def test_bad_records_that_are_skipped_hide_no_disk_that_is_gone(
    shapes: Path, tmp_path: Path
) -> None:
    """All that cannot be read is passed over there, and so would be every error of the disk."""
    data = tmp_path / "shapes"
    shutil.copytree(shapes, data)
    message = demo_pipeline(data, batch=BATCH, steps=5000)
    paths = make_run(tmp_path / "run", message, steps=5000, max_bad_records=3)
    process = start(paths)
    while not (progress := read_json(paths.progress(0))) or progress["step"] < 1:
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    data.rename(tmp_path / "gone")
    _, log = process.communicate(timeout=120)
    assert process.returncode == 74, log
    assert str(data) in json.loads(paths.failure("worker").read_text())["message"]
    assert "Traceback" not in log


def test_a_gone_parent_ends_the_worker(shapes: Path, tmp_path: Path) -> None:
    paths = make_run(tmp_path, demo_pipeline(shapes, batch=BATCH, steps=5000), steps=5000)
    code, log = finish(paths, LAUNCHER_PARENT_PID="1" if os.getpid() != 1 else "2")
    assert code == 75
    assert "the supervisor (process 1) is gone" in log
