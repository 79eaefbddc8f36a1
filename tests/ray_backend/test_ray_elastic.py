"""An elastic run loses a node and gets one back: other workers, the same global batch and rate."""

from pathlib import Path

import pytest

from launcher.contract import Reason
from launcher.odapi import pipeline
from launcher.odapi.schedule import rate_at
from launcher.storage import read_jsonl
from tests.end_to_end.small_run import GLOBAL_BATCH, make_run
from tests.ray_backend.nodes import Nodes
from tests.ray_backend.ray_run import RayRun

_ALONE = {"workers": 1, "accumulation_steps": 2}
_BOTH = {"workers": 2, "accumulation_steps": 1}


@pytest.mark.slow
@pytest.mark.tensorflow
def test_a_node_is_lost_and_given_back(tmp_path: Path) -> None:
    make_run(
        tmp_path,
        steps=2000,
        checkpoint_steps=4,
        stall_seconds=60.0,
        sections="backend: {ray: {resize_seconds: 2}}",
    )
    with Nodes() as cluster:
        run = RayRun(tmp_path, patience=400.0, address=cluster.url)
        text = run.spec.read_text().replace("{workers: 2}", "{workers: {min: 1, max: 2}}")
        run.spec.write_text(text.replace("train: {", "train: {norm: batch, "))
        cluster.add()
        lost = cluster.add()
        try:
            run.submit()
            run.wait(lambda: len(run.steps_of(0)) >= 6, "steps of both", 400)
            cluster.kill_raylet(lost)
            run.wait(lambda: _goes_on(run, workers=1), "steps of one", 400)
            cluster.add()
            run.wait(lambda: _goes_on(run, workers=2), "steps of both again", 400)
            done = run.launcher("cancel", run.name)
            assert done.returncode == 0, done.stderr
            assert run.told()["state"] == "CANCELLED"
            _check_record(run)
        finally:
            run.end_all()


def _goes_on(run: RayRun, workers: int) -> bool:
    """Whether the newest attempt has so many workers, and made three steps with them."""
    plans = run.replans()
    return (
        len(plans) > 1
        and plans[-1]["workers"] == workers
        and len(run.steps_of(plans[-1]["attempt"])) >= 3
    )


def _check_record(run: RayRun) -> None:
    plans = run.replans()
    sizes = [{name: row[name] for name in _BOTH} for row in plans]
    assert sizes[0] == _BOTH
    assert _ALONE in sizes
    assert sizes[-1] == _BOTH
    assert {row["global_batch"] for row in plans} == {GLOBAL_BATCH}
    assert len({row["learning_rate"] for row in plans}) == 1
    # What the steps really used, in all attempts.
    effective = pipeline.read(run.paths.pipeline)
    for row in run.rows():
        planned = rate_at(effective.train_config.optimizer, row["step"] - 1)
        assert row["learning_rate"] == pytest.approx(planned, rel=1e-4, abs=1e-8)
    sizes_of = {row["attempt"]: row for row in plans}
    trained = {row["attempt"] for row in run.rows()}
    assert {sizes_of[attempt]["workers"] for attempt in trained} == {1, 2}
    for row in run.rows():
        assert row["global_batch"] == GLOBAL_BATCH
        assert row["accumulation_steps"] == sizes_of[row["attempt"]]["accumulation_steps"]
    for attempt in trained:
        applied = f"global batch {GLOBAL_BATCH} = {sizes_of[attempt]['workers']} replicas"
        assert applied in run.log(attempt, "worker-0")
    events = [row["reason"] for row in read_jsonl(run.paths.events)]
    assert Reason.RESIZED in events, "growing is no fault"
    assert run.status()["restarts"] <= 2, "only the loss counts"
    saved = max(run.saved())
    assert saved >= plans[-1]["step"], "the cancel saved a checkpoint"
