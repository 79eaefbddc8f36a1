"""The evaluator as a process: what it leaves behind and how it ends."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.errors import ConfigError, PeerLostError
from launcher.evaluate import follow
from launcher.evaluate.app import follow_run, score_one
from launcher.evaluate.process import Environment, Stopped
from launcher.odapi import compat, pipeline
from launcher.storage import append_jsonl, read_jsonl, write_json
from launcher.worker_config import WorkerConfig

Start = Callable[..., "subprocess.Popen[str]"]
TOTAL = 20


@pytest.fixture
def run_folder(val: Any, ssd: Callable[..., str], tmp_path: Path) -> RunPaths:
    """A planned run on six small val images, two of them empty."""
    examples = []
    for i in range(6):
        boxes = [] if i in (2, 5) else [val.box(1 + i % 3, 20, 20, 60, 50)]
        examples.append(val.record(str(100 + i), boxes, (128, 96)))
    val.write(*examples)
    paths = RunPaths(tmp_path / "run")
    plan(paths, val_images=6)
    paths.pipeline.write_text(ssd(val.folder))
    return paths


def plan(paths: RunPaths, **changed: Any) -> None:
    config = WorkerConfig(
        name="run", workers=1, gpus_per_worker=0, replicas=1, global_batch=4, per_replica_batch=4,
        accumulation_steps=1, learning_rate=0.1, warmup_learning_rate=0.01, warmup_steps=1,
        total_steps=TOTAL, **changed,
    )  # fmt: skip
    write_json(paths.plan, {"worker_config": config.to_json()})


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the evaluator; whatever is left of it is killed."""
    processes = []

    def start_process(paths: RunPaths, *args: str, **env: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "launcher.evaluate", str(paths.root), *args],
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start_process
    for process in processes:
        process.kill()
        process.communicate()


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Exit code and standard error; standard output has to be empty."""
    out, err = process.communicate(timeout=300)
    assert out == ""
    return process.returncode, err


def test_user_errors_are_one_line_and_a_file(val: Any, run_folder: RunPaths, start: Start) -> None:
    val.write(val.record("7", [val.box(1, 0, 0, 9, 9)]), name="val.record-again")
    code, err = end(start(run_folder, "--once"))
    assert code == 65
    assert len(err.splitlines()) == 1
    assert "7 val images, 6 were expected. Name all shards" in err
    failure = json.loads(run_folder.failure("evaluator").read_text())
    assert failure["exit"] == 65
    assert failure["message"] in err


@pytest.mark.parametrize(
    ("module", "spoil", "expected"),
    [
        ("launcher.evaluate", lambda p: p.plan.unlink(), 64),
        ("launcher.evaluate", lambda p: p.plan.unlink() or p.plan.mkdir(), 1),  # a traceback
        ("launcher.evaluate.export", lambda p: None, 64),  # no checkpoint
    ],
)
def test_a_full_disk_below_the_log_changes_nothing(
    tmp_path: Path, module: str, spoil: Any, expected: int
) -> None:
    paths = RunPaths(tmp_path)
    plan(paths)
    spoil(paths)
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", module, str(paths.root)]
        assert subprocess.run(command, stderr=full, check=False, timeout=300).returncode == expected
    if module == "launcher.evaluate":
        assert json.loads(paths.failure("evaluator").read_text())["exit"] == expected


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.plan.unlink(), "plan.json: no such file"),
        (lambda p: p.pipeline.unlink(), "pipeline.config: no such file"),
        (lambda p: p.pipeline.write_text("model { ssd { num_klasses: 3 } }"), '"num_classes"?'),
        (lambda p: p.pipeline.write_text("model { ssd { num_classes: 3 } }"), "eval_input_reader"),
    ],
)
def test_bad_configuration(run_folder: RunPaths, start: Start, spoil: Any, message: str) -> None:
    spoil(run_folder)
    code, err = end(start(run_folder))
    assert code == 64
    assert message in err
    assert "Traceback" not in err


def test_a_root_that_is_not_there_stays_so(tmp_path: Path, start: Start) -> None:
    code, _ = end(start(RunPaths(tmp_path / "absent")))
    assert code == 64
    assert not (tmp_path / "absent").exists()


def test_environment(capsys: pytest.CaptureFixture[str]) -> None:
    env = {"TF_CONFIG": "{}", "LAUNCHER_CPU_THREADS": "2", "LAUNCHER_ATTEMPT": "3"}
    environment = Environment(env)
    environment.check_parent()
    assert (environment.cpu_threads, environment.attempt) == (2, 3)
    assert "TF_CONFIG" not in env
    assert "warning: TF_CONFIG is set" in capsys.readouterr().err
    for name, value in (("LAUNCHER_CPU_THREADS", "0"), ("LAUNCHER_PARENT_PID", "x")):
        with pytest.raises(ConfigError, match=name):
            Environment({name: value})


def test_leaves_when_the_parent_is_gone() -> None:
    Environment({"LAUNCHER_PARENT_PID": str(os.getppid())}).check_parent()
    Environment({"LAUNCHER_PARENT_PID": str(os.getpid())}).check_parent()  # alive, if no parent
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    with pytest.raises(Stopped):
        Environment({"LAUNCHER_PARENT_PID": str(other.pid)}).check_parent()


WATCHED = """
import ctypes, os, signal, time
from launcher.evaluate.process import Environment, leave_on_sigterm
signal.alarm(30)
leave_on_sigterm()
Environment(os.environ).watch_parent()
print("watches", flush=True)
"""
STARTS = """
import os, subprocess, sys
env = os.environ | {"LAUNCHER_PARENT_PID": str(os.getpid())}
subprocess.Popen([sys.executable, *sys.argv[1:]], env=env).wait()
"""
# Native code that no signal ends: a handler in Python has to wait for it.
NATIVE = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); ctypes.CDLL(None).pause()"


@pytest.mark.parametrize("does", ["time.sleep(60)", NATIVE])
def test_leaves_when_the_parent_is_gone_whatever_it_does(does: str) -> None:
    argv = [sys.executable, "-c", STARTS, "-c", WATCHED + does]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "watches\n"
        parent.kill()
        began = time.monotonic()
        assert parent.stdout.read() == "", "which it holds open"
        assert time.monotonic() - began < 10.0


def test_an_evaluator_whose_disk_does_not_answer_leaves_with_its_parent(tmp_path: Path) -> None:
    run_folder = RunPaths(tmp_path / "run")
    plan(run_folder)
    os.mkfifo(run_folder.pipeline)  # to open it waits for a writer
    argv = [sys.executable, "-c", STARTS, "-m", "launcher.evaluate", str(run_folder.root)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as parent:
        deadline = time.monotonic() + 30
        while not run_folder.evaluator_beat.exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
        try:
            assert parent.communicate(timeout=20)[1].endswith(" stopped\n")
        finally:  # what is left there may go on, to its end
            with contextlib.suppress(OSError):
                os.close(os.open(run_folder.pipeline, os.O_WRONLY | os.O_NONBLOCK))


def test_getting_on_sets_the_time_of_a_file(tmp_path: Path) -> None:
    file = RunPaths(tmp_path).evaluator_beat
    environment = Environment({})
    environment.get_on()
    environment.beat_in(file)
    os.utime(file, (0, 0))
    environment.get_on()
    assert file.stat().st_mtime > time.time() - 60
    os.utime(file, (0, 0))
    environment.get_on()
    assert file.stat().st_mtime == 0, "once a second"
    file.unlink()
    environment._beaten = 0.0
    environment.get_on()  # one that cannot be reached costs nothing


class Scorer:
    """Writes the line of a score without a model; `gone` are checkpoints that cannot be read."""

    def __init__(self, paths: RunPaths, *gone: int) -> None:
        self.paths = paths
        self.gone = gone
        self.steps: list[int] = []

    def score(self, step: int, *, certified: bool = False) -> dict[str, Any] | None:
        self.steps.append(step)
        if step in self.gone:
            return None
        row = {"step": step, "sha256": follow.digest(self.paths.checkpoints, step)}
        append_jsonl(self.paths.eval_metrics, row)
        return row


def list_checkpoints(paths: RunPaths, *steps: int) -> None:
    paths.checkpoints.mkdir(parents=True)
    for step in steps:
        (paths.checkpoints / f"ckpt-{step}.index").touch()
        (paths.checkpoints / f"ckpt-{step}.data-00000-of-00001").touch()
    lines = [f'all_model_checkpoint_paths: "ckpt-{step}"\n' for step in steps]
    (paths.checkpoints / "checkpoint").write_text("".join(lines))


@pytest.mark.parametrize(
    ("every", "state", "listed", "gone", "scored"),
    [
        ("checkpoint", "RUNNING", [5, 10, TOTAL], [], [5, 10, TOTAL]),
        ("checkpoint", "RUNNING", [5, 10, TOTAL], [5], [5, 10, TOTAL]),
        ("newest", "RUNNING", [5, 10, TOTAL], [], [TOTAL]),
        ("last", "RUNNING", [5, 10, TOTAL], [], [TOTAL]),
        ("checkpoint", "FAILED", [5, 10], [], [10]),
        ("last", "CANCELLED", [5, 10], [], [10]),
        ("last", "FAILED", [5, 10], [10], [10, 5]),
        ("checkpoint", "FAILED", [], [], []),
    ],
)
def test_what_is_scored_until_it_leaves(
    tmp_path: Path, every: str, state: str, listed: list[int], gone: list[int], scored: list[int]
) -> None:
    paths = RunPaths(tmp_path)
    plan(paths, evaluate_every=every)
    write_json(paths.status, {"state": state})
    list_checkpoints(paths, *listed)
    leaves = (
        contextlib.nullcontext()
        if TOTAL in scored
        else pytest.raises(
            PeerLostError, match=f"the run is {state}, .*: the last step, 20, has no score"
        )
    )
    scorer: Any = Scorer(paths, *gone)
    with leaves:
        follow_run(paths, WorkerConfig.read(paths.plan), scorer, Environment({}))
    assert scorer.steps == scored
    again: Any = Scorer(paths)
    with leaves:
        follow_run(paths, WorkerConfig.read(paths.plan), again, Environment({}))
    assert not set(again.steps) & (set(scored) - set(gone))


def test_one_checkpoint_on_request(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    scorer: Any = Scorer(paths, 10)
    with pytest.raises(ConfigError, match=r"no checkpoint yet\. Train first"):
        score_one(paths, scorer, None)
    list_checkpoints(paths, 5, 10)
    with pytest.raises(ConfigError, match="no checkpoint of step 7: it has those of steps 5, 10"):
        score_one(paths, scorer, 7)
    with pytest.raises(ConfigError, match="was deleted while it was read"):
        score_one(paths, scorer, 10)
    score_one(paths, scorer, None)
    score_one(paths, scorer, 5)
    assert scorer.steps == [10, 10, 5, 5]


def save_checkpoints(paths: RunPaths, *steps: int) -> None:
    """A training model that was never trained, saved as the workers do."""
    compat.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.read(paths.pipeline).model, is_training=True)
    model.predict(tf.zeros([1, 128, 128, 3]), tf.constant([[128, 128, 3]]))
    step_variable = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(step=step_variable, model=model)
    manager = tf.train.CheckpointManager(checkpoint, str(paths.checkpoints), 7, "ckpt")
    for step in steps:
        step_variable.assign(step)
        manager.save(checkpoint_number=step)


def wait_for(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f'the evaluator ended without saying "{text}"')


@pytest.mark.tensorflow
def test_follows_to_the_last_checkpoint(run_folder: RunPaths, start: Start, tmp_path: Path) -> None:
    save_checkpoints(run_folder, 10)
    first = start(run_folder, "--dump", str(tmp_path / "dump"), TF_CONFIG="{}")
    wait_for(first, "waiting for the next checkpoint")
    began = time.monotonic()
    first.terminate()
    assert end(first)[0] == 143
    assert time.monotonic() - began < 5
    assert not run_folder.failure("evaluator").exists()
    (row,) = read_jsonl(run_folder.eval_metrics)

    save_checkpoints(run_folder, 10, TOTAL)
    code, err = end(start(run_folder, "--dump", str(tmp_path / "dump"), LAUNCHER_CPU_THREADS="2"))
    assert code == 0, err
    rows = read_jsonl(run_folder.eval_metrics)
    assert [r["step"] for r in rows] == [10, 10, TOTAL]  # 10 was saved again with other weights
    assert rows[0] == row
    assert [r["engine"] for r in rows] == ["hotcoco", "hotcoco", "pycocotools"]
    check_row(run_folder, rows[-1])
    check_tensorboard(run_folder)
    check_what_is_shown(run_folder)
    assert "differ" not in err
    assert by_hand(tmp_path / "dump", TOTAL) == [rows[-1][name] for name in COCO_NUMBERS]


def check_row(paths: RunPaths, row: dict[str, Any]) -> None:
    assert row["checkpoint"] == f"checkpoints/ckpt-{TOTAL}"
    assert row["sha256"] == follow.digest(paths.checkpoints, TOTAL)
    assert (row["images"], row["detections"]) == (6, 600)
    assert row["seconds"] > 0
    assert all(-1 <= row[name] <= 1 for name in COCO_NUMBERS)
    assert 0 <= row["mAP"] < 0.5
    assert list(row["per_category"]) == ["square", "circle", "triangle"]
    assert row["picture"] == f"report/val-step-{TOTAL}.png"
    with Image.open(paths.root / row["picture"]) as sheet:
        assert sheet.size == (1320, 336)  # the four images with boxes


def check_what_is_shown(paths: RunPaths) -> None:
    shown = json.loads(paths.examples.read_text())
    assert shown["step"] == TOTAL
    kinds = [image["kind"] for image in shown["images"]]
    assert {"worst"} <= set(kinds) <= {"worst", "best"}
    assert len({image["source_id"] for image in shown["images"]}) == len(kinds)
    assert all(image["truth"] or image["found"] for image in shown["images"])
    started = read_jsonl(paths.provenance)
    assert [row["role"] for row in started] == ["evaluator", "evaluator"]  # two starts
    assert started[0]["data"] == started[1]["data"]
    assert (started[0]["data"]["records"], started[0]["data"]["files"]) == (6, 1)


def check_tensorboard(paths: RunPaths) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(paths.tensorboard / "eval")).Reload()
    tags = events.Tags()["tensors"]
    assert {"coco/mAP", "coco/AR100", "val/0", "val/3"} <= set(tags)
    assert "coco/APs" not in tags  # -1: no box of this size
    assert {e.step for e in events.Tensors("coco/mAP")} == {10, TOTAL}


def by_hand(folder: Path, step: int) -> list[float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    api = COCO(str(folder / "ground_truth.json"))
    results = api.loadRes(str(folder / f"detections-{step}.json"))
    evaluation = COCOeval(api, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return list(evaluation.stats)
