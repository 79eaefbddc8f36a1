"""The line of a run in the log that Ray shows. Gauges are in test_ray_evaluator_turn.py."""

from pathlib import Path

from launcher.backends.base import Progress, RunStatus
from launcher.backends.ray.progress import line_of
from launcher.contract import Reason, State


def status(progress: Progress) -> RunStatus:
    return RunStatus(
        "a", Path("a"), State.RUNNING, Reason.STARTED, step=120, total_steps=500, progress=progress
    )


def test_it_has_what_there_is() -> None:
    progress = Progress(
        images_per_second=76.71, loss=1.23456, learning_rate=0.05, last_map=0.31, last_map_step=100
    )
    assert line_of(status(progress)) == (
        "step 120 of 500: loss 1.235, learning rate 0.05, 76.7 images/s, mAP 0.310 at step 100"
    )
    assert line_of(status(Progress(loss=2.0))) == "step 120 of 500: loss 2"
    assert line_of(status(Progress())) == ""
