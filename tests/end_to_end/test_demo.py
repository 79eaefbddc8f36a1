"""The run of `make demo`, with a worker killed on the way: two workers, an evaluator, an mAP."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import COCO_NUMBERS, RunPaths
from launcher.storage import read_json, read_jsonl

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(1500)]

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "demo.yaml"


def launcher(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "launcher", *arguments]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPaths, "subprocess.Popen[str]"]:
    """The finished run. Worker 1 was killed with signal 9 once the first checkpoint was there."""
    folder = tmp_path_factory.mktemp("runs")
    process = subprocess.Popen(
        launcher("submit", str(CONFIG), "--wait", "--set", f"run_dir={folder}"),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    paths = RunPaths(folder / "demo")
    killed = False
    while process.poll() is None:
        time.sleep(0.5)
        progress = read_json(paths.progress(1))
        if not killed and progress and 130 <= progress["step"] < 400:
            chief = read_json(paths.progress(0))["pid"]
            os.kill(progress["pid"], signal.SIGKILL)
            killed = True
            leaves_within(20, chief)
    assert killed, "the run ended before the worker could be killed"
    return paths, process


def leaves_within(seconds: float, pid: int) -> None:
    """The others of a group that lost one, by themselves or by their supervisor."""
    deadline = time.monotonic() + seconds
    while Path(f"/proc/{pid}/cmdline").exists():
        assert time.monotonic() < deadline, f"process {pid} is there after {seconds:g} s"
        time.sleep(0.05)


def status(paths: RunPaths) -> dict[str, Any]:
    out = subprocess.run(
        launcher("status", "demo", "--json", "--run-dir", str(paths.root.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(out.stdout)  # type: ignore[no-any-return]


def test_it_succeeds_with_the_target_reached(demo: Any) -> None:
    paths, process = demo
    assert process.returncode == 0, process.stdout.read()
    told = status(paths)
    assert (told["state"], told["reason"]) == ("SUCCEEDED", "scored")
    assert (told["step"], told["attempt"], told["restarts"]) == (500, 1, 1)


def test_results_are_the_contracts_json(demo: Any) -> None:
    paths, _ = demo
    out = subprocess.run(
        launcher("results", "demo", "--json", "--run-dir", str(paths.root.parent)),
        capture_output=True,
        text=True,
        check=False,
    )
    results = json.loads(out.stdout)
    assert out.returncode == 0
    assert (results["name"], results["state"], results["target_map"]) == ("demo", "SUCCEEDED", 35)
    final = results["final"]
    assert final["step"] == 500
    assert final["images"] == 200
    assert final["mAP"] >= 0.35
    assert set(COCO_NUMBERS) <= set(final)
    assert set(final["per_category"]) == {"square", "circle", "triangle"}
    assert results["history"][-1]["step"] == 500
    picture = paths.root / final["picture"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_missed_target_is_exit_4(demo: Any) -> None:
    paths, _ = demo
    plan = json.loads(paths.plan.read_text())
    paths.plan.write_text(json.dumps(plan | {"target_map": 99.9}))
    try:
        out = subprocess.run(
            launcher("results", "demo", "--run-dir", str(paths.root.parent)),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        paths.plan.write_text(json.dumps(plan))
    assert out.returncode == 4


def test_no_step_was_lost_beyond_the_last_checkpoint(demo: Any) -> None:
    paths, _ = demo
    rows = read_jsonl(paths.train_metrics)
    first = [r["step"] for r in rows if r["attempt"] == 0]
    second = [r["step"] for r in rows if r["attempt"] == 1]
    assert first == list(range(1, first[-1] + 1))
    assert second == list(range(second[0], 501))
    assert (second[0] - 1) % 125 == 0
    assert 0 <= first[-1] - (second[0] - 1) <= 125


def test_the_applied_values_are_the_plans_at_every_step(demo: Any) -> None:
    paths, _ = demo
    rows = read_jsonl(paths.train_metrics)
    assert {(r["global_batch"], r["accumulation_steps"]) for r in rows} == {(32, 1)}
    assert max(r["learning_rate"] for r in rows) == pytest.approx(0.05, rel=1e-4)
    assert rows[0]["learning_rate"] == pytest.approx(0.005, rel=1e-4)
    for attempt in (0, 1):
        log = paths.worker_log(attempt, 0).read_text()
        assert "global batch 32 = 2 replicas x 16 images x 1 accumulation steps" in log


def test_only_loopback_was_listened_on(demo: Any) -> None:
    paths, _ = demo
    log = paths.supervisor_log(0).read_text()
    assert "127.0.0.1:" in log


def test_tensorboard_reads_what_was_written(demo: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    paths, _ = demo
    train = EventAccumulator(str(paths.tensorboard / "train")).Reload().Tags()["tensors"]
    assert {"Loss/total_loss", "learning_rate", "images_per_second"} <= set(train)
    score = EventAccumulator(str(paths.tensorboard / "eval")).Reload().Tags()
    everything = set(score["tensors"]) | set(score["scalars"]) | set(score["images"])
    assert any("mAP" in tag for tag in everything), everything
    assert any("val" in tag or "image" in tag for tag in everything), everything


def test_no_process_is_left(demo: Any) -> None:
    paths, _ = demo
    left = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(paths.root).encode() in cmdline.read_bytes():
                left.append(cmdline)
        except OSError:
            continue
    assert left == []
