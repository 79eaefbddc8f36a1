"""The text of findings: one column of texts where the terminal is narrow, and one screen."""

from pathlib import Path

import pytest

from launcher.cli.findings import block
from launcher.planning import make_plan
from launcher.preflight import Cost, Finding, Options, Severity, check
from launcher.spec import load
from tests.preflight import seed_like

FOUND = Finding(
    "learning-rate",
    Severity.WARNING,
    "pipeline.config:157: train_config.learning_rate_base",
    "0.01 at batch 2 is 8x the linear rule's 0.00125 (efficientdet_d3: 0.08 at 128)",
    Cost("a small detector's mAP at 2x its rate, three runs: 0.31, 0.30 and 0.04 in place of 0.42"),
    "Nothing: this run has the recipe's, 0.08 at 128",
)


def test_a_wide_block() -> None:
    assert block(FOUND, 120) == [
        "warning  learning-rate: 0.01 at batch 2 is 8x the linear rule's 0.00125 (efficientdet_d3: "
        "0.08 at 128)",
        "         at     pipeline.config:157: train_config.learning_rate_base",
        "         costs  a small detector's mAP at 2x its rate, three runs: 0.31, 0.30 and 0.04 in "
        "place of 0.42",
        "         write  Nothing: this run has the recipe's, 0.08 at 128",
    ]


def test_a_narrow_block() -> None:
    assert block(FOUND, 80) == [
        "warning  learning-rate: 0.01 at batch 2 is 8x the linear rule's 0.00125",
        "         (efficientdet_d3: 0.08 at 128)",
        "  at     pipeline.config:157: train_config.learning_rate_base",
        "  costs  a small detector's mAP at 2x its rate, three runs: 0.31, 0.30 and 0.04",
        "         in place of 0.42",
        "  write  Nothing: this run has the recipe's, 0.08 at 128",
    ]


@pytest.mark.skipif(not seed_like.SEED.exists(), reason="needs the issue's file")
@pytest.mark.parametrize(("width", "most"), [(80, 50), (100, 43), (120, 39)])
def test_the_issue_s_file_in_one_screen(tmp_path: Path, width: int, most: int) -> None:
    """With a title of two lines and a line of sums."""
    seed_like.make_data(tmp_path / "data")
    path = seed_like.config(tmp_path, tmp_path / "data")
    found = check(make_plan(load(path, ["batch.per_replica_batch=2"])), Options()).findings
    # The stand-in of a shard has two images: what is said of so few and so small ones is left out.
    lines = [line for f in found if f.name not in ("labels", "images") for line in block(f, width)]
    assert len([f for f in found if f.severity is not Severity.INFO]) >= 7
    assert len(lines) + 3 <= most
