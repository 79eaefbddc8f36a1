"""Every command of bench/ runs and ends with its line of JSON, at the smallest size that it takes.

Nothing is said here of the figures: at this size they mean nothing. What a bench prints is quoted
in the documentation, so one that broke when the code under it moved would leave those figures
without a source.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {p.stem for p in (ROOT / "bench").glob("[a-z]*.py")}

RESULTS = "{tmp}/results.jsonl"
SMALL = {
    "accumulation": ("--micro-batches", "16", "--skipped", "1", "--counted", "2"),
    "check": ("--rounds", "1", "--records", "200", "--keep", "{tmp}/check"),
    "coco_metric": ("--images", "20", "--detections", "5"),
    "convert": ("--images", "40", "--rounds", "1", "--commands", "1"),
    "evaluator": ("--images", "8", "--rounds", "1", "--skip-batched"),
    "first_step": ("--pairs", "1", "--workers", "1"),
    "loss_normalizer": (
        *("--steps", "2", "--seeds", "0", "--backgrounds", "flat", "--results", RESULTS),
    ),
    "memory": ("--measure", "ssd_mobilenet_v2_320", "--batch", "1"),
    "parity": ("--steps", "2", "--batch", "2"),
    "precision": ("--steps", "2", "--folder", "{tmp}/precision"),
    "ray_overhead": ("--pairs", "1", "--steps", "2", "--finished", "1", "--no-warm-up"),
    "recompute": ("--side", "256", "--batch", "1"),
    "recovery": ("--kills", "1"),
    "render": ("--repeat", "1"),
    "small_batch": ("--steps", "2", "--limit", "1", "--results", RESULTS),
    "step_profile": ("--batch", "2", "--repeats", "1", "--kernels", "1"),
    "train_throughput": ("--pairs", "1", "--workers", "1", "--skipped", "1", "--counted", "2"),
}
ITSELF = {"cli_start"}
"""Takes no options, and a few seconds."""
ELSEWHERE = {"issue_10530"}
"""test_issue_10530.py; it has no smaller size."""


def test_none_is_left_out() -> None:
    assert {*SMALL, *ITSELF, *ELSEWHERE} == COMMANDS


@pytest.mark.slow
@pytest.mark.tensorflow
@pytest.mark.parametrize("name", sorted(COMMANDS - ELSEWHERE))
def test_it_ends_with_one_line_of_json(name: str, tmp_path: Path) -> None:
    options = [option.format(tmp=tmp_path) for option in SMALL.get(name, ())]
    done = subprocess.run(
        [sys.executable, f"bench/{name}.py", *options],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is the verdict that the figure is not what is asked for; at this size it may be.
    assert done.returncode in (0, 1), done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "ratio", "ours", "peer", "unit"} <= result.keys()
