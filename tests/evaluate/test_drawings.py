"""Which pictures of a run stay."""

from itertools import pairwise
from pathlib import Path

import pytest

from launcher.contract import RunPaths
from launcher.evaluate.drawings import PARTS, Drawings, spread


def score(paths: RunPaths, total: int, *steps: int) -> list[int]:
    """As the scorer does, each by an evaluator of its own; the steps that TensorBoard got."""
    paths.report.mkdir(exist_ok=True)
    shown = []
    for step in steps:
        drawings = Drawings(paths, total)
        paths.picture(step).touch()
        if drawings.stays(step):
            shown.append(step)
        drawings.thin_out(step)
        assert paths.picture(step).exists()
    return shown


def there(paths: RunPaths) -> list[int]:
    names = [path.stem.removeprefix("val-step-") for path in paths.report.glob("val-step-*.png")]
    return sorted(map(int, names))


def test_of_two_weeks_a_hundred_stay(tmp_path: Path) -> None:
    paths, total = RunPaths(tmp_path), 300_000
    steps = [*range(223, total, 223), total]
    assert len(steps) > 1340
    shown = score(paths, total, *steps)
    assert there(paths) == shown
    assert (shown[0], shown[-1], len(shown)) == (223, total, PARTS + 1)
    gaps = [b - a for a, b in pairwise(shown)]
    assert max(gaps) <= total / PARTS + 223


def test_the_newest_is_always_there_and_few_lose_none(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    assert score(paths, 10_000, 10, 20, 30) == [10]
    assert there(paths) == [10, 30]  # a run that fails now has the picture that results names
    assert score(paths, 10_000, 500, 10_000) == [500, 10_000]
    assert there(paths) == [10, 500, 10_000]
    score(paths, 10_000, 505)  # by hand: its own is there, and that of the last step stays
    assert there(paths) == [10, 500, 505, 10_000]


def test_what_is_no_picture_of_a_step_is_left_alone(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path)
    paths.report.mkdir()
    (paths.report / "val-step-best.png").touch()
    paths.examples.touch()
    score(paths, 10_000, 1, 2, 3)
    assert (paths.report / "val-step-best.png").exists()
    assert paths.examples.exists()


@pytest.mark.parametrize("total", [0, 1, 7])
def test_short_runs_keep_all(total: int) -> None:
    assert spread(range(total + 1), total) == set(range(total + 1))
