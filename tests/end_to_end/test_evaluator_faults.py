"""What happens to the evaluator, happening to a real one beside two real workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.storage import read_json, read_jsonl, write_json
from tests.end_to_end.small_run import SmallRun, make_run

pytestmark = [pytest.mark.tensorflow, pytest.mark.slow, pytest.mark.timeout(900)]

STEPS = 60
CHECKPOINT_STEPS = 10


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallRun]:
    run = make_run(
        tmp_path_factory.mktemp("evaluator"),
        steps=STEPS,
        checkpoint_steps=CHECKPOINT_STEPS,
        stall_seconds=120.0,
        sections="evaluate: {every: checkpoint}",
    )
    yield run
    run.end_all()


def scores(paths: RunPaths) -> list[int]:
    return [row["step"] for row in read_jsonl(paths.eval_metrics) if "mAP" in row]


def given_up(paths: RunPaths) -> list[dict[str, Any]]:
    return [row for row in read_jsonl(paths.eval_metrics) if "error" in row]


def flip_bits(checkpoint: Path) -> None:
    """One in every 4 kB: the evaluator reads the weights, and nothing of the optimizer's."""
    for data in checkpoint.parent.glob(f"{checkpoint.name}.data-*"):
        content = bytearray(data.read_bytes())
        for at in range(0, len(content), 4096):
            content[at] ^= 1
        data.write_bytes(content)


DAMAGED = 2 * CHECKPOINT_STEPS


@pytest.fixture(scope="module")
def ended(run: SmallRun) -> SmallRun:
    """The evaluator is held from its start until there are three checkpoints, one of them damaged.

    So it has read nothing of it before. Its supervisor is held too, which would start another."""
    run.submit()
    held = [run.supervisor(), run.pid("evaluator")]
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    run.wait(lambda: len(run.saved()) >= 3, "three checkpoints")
    assert scores(run.paths) == []
    flip_bits(run.paths.checkpoints / f"ckpt-{DAMAGED}")
    for pid in reversed(held):
        os.kill(pid, signal.SIGCONT)
    run.wait_end()
    return run


def test_a_damaged_checkpoint_is_tried_reported_and_passed_over(ended: SmallRun) -> None:
    (row,) = given_up(ended.paths)
    assert row["step"] == DAMAGED
    place = ended.paths.checkpoints / f"ckpt-{row['step']}"
    assert row["error"].startswith(f"{place}: the checkpoint cannot be read (")
    log = ended.log(0, "evaluator")
    tries = [f"ckpt-{row['step']} cannot be scored (try {k} of 3): {place}" for k in (1, 2, 3)]
    assert all(text in log for text in tries)
    assert row["step"] not in scores(ended.paths)


def test_the_training_does_not_notice_and_the_last_one_is_scored(ended: SmallRun) -> None:
    told = ended.status()
    assert (told["state"], told["reason"]) == ("SUCCEEDED", "scored")
    assert (told["attempt"], told["restarts"]) == (0, 0)
    assert scores(ended.paths) == [10, 30, 40, 50, STEPS]
    assert ended.log(0, "supervisor").count("evaluator (pid") == 2  # one start, one end


def test_results_name_what_was_not_scored(ended: SmallRun) -> None:
    (row,) = given_up(ended.paths)
    done = ended.launcher("results", ended.name, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["final"]["step"] == STEPS
    assert found["not_scored"] == [{"step": row["step"], "error": row["error"]}]
    assert f"step {row['step']}: " in ended.launcher("results", ended.name).stdout


def test_an_evaluator_that_finds_the_run_finished_leaves(ended: SmallRun) -> None:
    before = read_jsonl(ended.paths.eval_metrics)
    done = evaluator(ended.paths)
    _, log = done.communicate(timeout=120)
    assert done.returncode == 0, log
    assert f"the last step, {STEPS}, is scored: done" in log
    assert read_jsonl(ended.paths.eval_metrics) == before


def test_an_evaluator_that_starts_after_the_training_scores_the_last(
    ended: SmallRun, tmp_path: Path
) -> None:
    """As on `launcher evaluate`, when none of the others had lived to score anything."""
    ended.paths.eval_metrics.replace(tmp_path / "eval.jsonl")
    try:
        done = ended.launcher("evaluate", ended.name)
        assert done.returncode == 0, done.stderr
        assert scores(ended.paths) == [STEPS]
    finally:
        (tmp_path / "eval.jsonl").replace(ended.paths.eval_metrics)


def test_one_that_falls_behind_takes_the_newest(ended: SmallRun, tmp_path: Path) -> None:
    """The default, evaluate.every: newest. What was overtaken is left out."""
    paths = copy_of(ended, tmp_path, every="newest")
    process = evaluator(paths)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert scores(paths) == [STEPS]


def test_one_that_dies_of_a_checkpoint_passes_it_over_when_it_is_started_again(
    ended: SmallRun, tmp_path: Path
) -> None:
    """Killed while it scores the oldest checkpoint, three times; the fourth one goes on."""
    paths = copy_of(ended, tmp_path, every="checkpoint")
    oldest = ended.saved()[0]
    for tries in (1, 2, 3):
        process = evaluator(paths)
        wait_for_try(paths, oldest, tries)
        process.kill()
        process.communicate()
    assert scores(paths) == []
    process = evaluator(paths)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert (given_up(paths)[0]["step"], given_up(paths)[0]["error"]) == (
        oldest,
        "the evaluator died while it scored it",
    )
    good = [step for step in ended.saved() if step not in [row["step"] for row in given_up(paths)]]
    assert scores(paths) == good
    assert good[-1] == STEPS


def copy_of(run: SmallRun, folder: Path, every: str) -> RunPaths:
    """The run as it was before anything of it was scored, with all its checkpoints."""
    paths = RunPaths(folder / "copy")
    shutil.copytree(run.paths.root, paths.root)
    shutil.rmtree(paths.eval_metrics.parent)
    plan = json.loads(paths.plan.read_text())
    plan["worker_config"]["evaluate_every"] = every
    write_json(paths.plan, plan)
    write_json(paths.status, {**json.loads(paths.status.read_text()), "state": "RUNNING"})
    return paths


def evaluator(paths: RunPaths) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "launcher.evaluate", str(paths.root)],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_try(paths: RunPaths, step: int, tries: int) -> None:
    deadline = time.monotonic() + 120
    while True:
        data = read_json(paths.root / "progress" / "evaluator-tries.json") or {}
        if (data.get("step"), data.get("tries")) == (step, tries):
            return
        assert time.monotonic() < deadline, data
        time.sleep(0.005)
