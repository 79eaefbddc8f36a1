"""A worker process with all that a plan can ask of it: that each reaches the step it takes.

What each does is tested by itself; here its effect is looked for in the log and the checkpoints of
a run that is stopped, resumed and scored.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.contract import RunPaths
from launcher.storage import read_jsonl
from tests.runtime.built_models import built, plain_name, values_of
from tests.runtime.small_pipelines import CONFIGS, demo_pipeline
from tests.runtime.test_worker_process import BATCH, finish, make_run, stop_after

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(900)]

STEPS, ACCUMULATION = 8, 4
DECAY = 0.3
"""Of the averages; their ramp reaches it at step 3."""
FROZEN = ["^backbone/conv1", "ClassPredictor"]


class Run:
    """One that was stopped after two steps or more, and its second attempt."""

    def __init__(self, paths: RunPaths, message: Any) -> None:
        self.paths, self.message = paths, message
        self.codes_and_logs = [stop_after(2, paths), finish(paths, 600, LAUNCHER_ATTEMPT="1")]

    def read(self) -> None:
        """What the checkpoint of each step has: weights and averages by name, norm's averages."""
        import tensorflow as tf

        from launcher.odapi import averages

        self.model = built(self.message)
        self.weights, self.averages, self.norm = {}, {}, {}
        for step in range(1, STEPS + 1):
            prefix = str(self.paths.checkpoints / f"ckpt-{step}")
            status = tf.train.Checkpoint(model=self.model).restore(prefix).expect_partial()
            status.assert_existing_objects_matched()
            self.weights[step] = values_of(self.model)
            if averages.has_averages(prefix):
                averages.restore(self.model, prefix)
                self.averages[step] = values_of(self.model)
            self.norm[step] = [
                tf.train.load_variable(prefix, name)
                for name, _ in tf.train.list_variables(prefix)
                if name.startswith("norm/")
            ]


@pytest.fixture(scope="module")
def run(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    message = demo_pipeline(shapes, batch=BATCH, steps=STEPS)
    message.model.ssd.feature_extractor.type = "ssd_mobilenet_v1_keras"  # half the layers to trace
    message.train_config.freeze_variables[:] = FROZEN
    paths = make_run(
        tmp_path_factory.mktemp("run"), message, steps=STEPS, norm="renorm", recompute=True,
        per_replica_batch=BATCH // ACCUMULATION, accumulation_steps=ACCUMULATION,
        ema_decay=DECAY, checkpoint_steps=1, keep_checkpoints=STEPS, val_images=16,
    )  # fmt: skip
    made = Run(paths, message)
    made.read()
    return made


def test_it_is_stopped_and_resumed(run: Run) -> None:
    (code, log), (again, second) = run.codes_and_logs
    assert (code, again) == (143, 0)
    stopped = re.search(r"stopped on request after step (\d+)", log)
    assert stopped
    assert f"continuing after step {stopped[1]}" in second
    rows = read_jsonl(run.paths.train_metrics)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(
    "line",
    [
        "the summed loss is divided by the matched anchors of the global batch",
        r"2 images x 4 accumulation steps, .* \(as planned\), the summed loss divided by \d\d",
        "35 normalization layers: renorm, ",
        "freeze: 15 of 129 variables, .*; the statistics of 1 normalization layers stand still",
        r"recompute: \d segments of the backbone",
    ],
)
def test_each_attempt_says_it(run: Run, line: str) -> None:
    for _, log in run.codes_and_logs:
        assert re.search(line, log), log


def test_what_is_frozen_stays_and_all_else_moves(run: Run) -> None:
    from launcher.runtime.freeze import namer

    full_name = namer(run.model)
    names = {plain_name(v): full_name(v) for v in run.model.trainable_variables}
    frozen = {name for name, full in names.items() if any(re.search(p, full) for p in FROZEN)}
    first, last = run.weights[1], run.weights[STEPS]
    moved = {name for name in names if not np.array_equal(first[name], last[name])}
    assert len(frozen) == 15
    assert not moved & frozen
    assert len(moved) > 0.9 * (len(names) - len(frozen))


def test_averages_follow_the_weights_over_the_restart(run: Run) -> None:
    """By their recurrence from step to step; what is frozen is its own average from the start."""
    np.testing.assert_allclose(
        run.averages[1]["conv1/kernel"], run.weights[1]["conv1/kernel"], rtol=1e-6
    )
    for step in range(2, STEPS + 1):
        rest = 1 - min(DECAY, (1 + step) / (10 + step))
        for name, before in run.averages[step - 1].items():
            expected = before - rest * (before - run.weights[step][name])
            np.testing.assert_allclose(
                run.averages[step][name], expected, rtol=1e-4, atol=1e-6, err_msg=name
            )


def test_each_norm_layer_takes_in_each_micro_batch_once(run: Run) -> None:
    """Recomputed or not; the frozen one none."""
    for step, states in run.norm.items():
        assert len(states) == 35
        frozen, *others = sorted(state[-1] for state in states)
        assert frozen == 0
        taken_in = ACCUMULATION * step
        np.testing.assert_allclose(others, 1 - (1 - 1 / ACCUMULATION) ** taken_in, rtol=1e-4)


def test_the_evaluator_scores_the_averages(run: Run) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "launcher.evaluate", str(run.paths.root)],
        cwd=CONFIGS.parent, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"the weights are their moving averages (train.ema_decay {DECAY})" in done.stderr
    assert max(row["step"] for row in read_jsonl(run.paths.eval_metrics)) == STEPS
