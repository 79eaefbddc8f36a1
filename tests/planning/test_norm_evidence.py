"""The figures that a plan quotes are those of the bench."""

import statistics
from pathlib import Path

import pytest

from launcher.planning.norm import MOVING_AGAINST_BATCH
from launcher.storage import read_jsonl

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "small_batch.jsonl"


@pytest.mark.parametrize("background", MOVING_AGAINST_BATCH)
def test_the_cost_of_moving_is_what_the_bench_measured(background: str) -> None:
    rows = [row for row in read_jsonl(RESULTS) if row["background"] == background]
    for told, norm, images in zip(
        MOVING_AGAINST_BATCH[background], ("moving", "batch"), (2, 32), strict=True
    ):
        found = [r["mAP"] for r in rows if (r["norm"], r["images"]) == (norm, images)]
        assert statistics.mean(found) == pytest.approx(told, abs=5e-4)
