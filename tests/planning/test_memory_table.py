"""The table of memory is what bench/memory.py printed of its results."""

import json
from pathlib import Path

from launcher import recipes
from launcher.planning import memory_table

RESULTS = Path(__file__).resolve().parents[2] / "bench" / "results" / "memory.jsonl"


def test_the_table_has_the_traced_rows() -> None:
    rows = [json.loads(line) for line in RESULTS.read_text().splitlines()]
    for table, again in ((memory_table.PLAIN, False), (memory_table.RECOMPUTED, True)):
        traced = {
            row["recipe"]: (row["state_mb"], row["fixed_mb"], row["image_mb"])
            for row in rows
            if row["recompute"] is again
        }
        assert table == traced
        assert set(table) <= set(recipes.names())
