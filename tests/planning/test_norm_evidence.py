"""The figures that plan and check quote are those of the bench."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.planning.norm_evidence import MEASURED, best, effect
from launcher.storage import read_jsonl

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "small_batch.jsonl"


def test_every_cell_is_the_mean_of_what_the_bench_measured() -> None:
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in read_jsonl(RESULTS):
        cell = found.setdefault((row["norm"], row["images"]), {})
        cell.setdefault(row["background"], []).append(row["mAP"])
    means = {
        key: (statistics.mean(cell["flat"]), statistics.mean(cell["patchy"]))
        for key, cell in found.items()
        if len(cell) == 2
    }
    assert means.keys() == MEASURED.keys()
    for key, told in MEASURED.items():
        assert means[key] == pytest.approx(told, abs=5e-4), key


@pytest.mark.parametrize(
    ("images", "nearest"), [(1, 2), (2, 2), (3, 2), (4, 4), (7, 4), (16, 8), (32, 32), (64, 32)]
)
def test_between_two_numbers_the_smaller_one_counts(images: int, nearest: int) -> None:
    found = effect("batch", images)
    assert found is not None
    assert found.images == nearest
    assert found.scores == MEASURED["batch", nearest]


def test_batch_norm_over_thirty_two_is_what_is_compared_with() -> None:
    found = effect("batch", 32)
    assert found is not None
    assert found.kept == 1.0


def test_nothing_is_said_of_what_was_not_measured() -> None:
    assert effect("frozen", 2) is None


@pytest.mark.parametrize("images", [2, 4, 8])
def test_the_best_keeps_more_than_the_others(images: int) -> None:
    others = [effect(kind, images) for kind in ("batch", "moving", "renorm", "group")]
    assert best(images).kept == max(e.kept for e in others if e is not None)


@pytest.mark.parametrize("name", ["small_batch", "loss_normalizer"])
def test_the_documentation_shows_the_table_that_the_bench_prints(name: str) -> None:
    bench = subprocess.run(
        [sys.executable, f"bench/{name}.py", "--table"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    *table, _ = bench.stdout.splitlines()
    assert "\n".join(table).strip() in (ROOT / "docs" / "recipes.md").read_text()
