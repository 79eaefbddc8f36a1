"""What check says of the 36 published files at their own batch: no false alarm.

    python -m tests.preflight.test_zoo_findings     writes zoo_findings.txt anew

The table has each file's findings by name, as `launcher check FILE` prints them. In all of them
PATH_TO_BE_CONFIGURED stands for the checkpoint, which is why fine-tune is there, and for the
records, which is why data-shards is: a note that none are named yet. EfficientDet-D7's errors are
of a slip in the published file, whose val path is `PATH_TO_BEE_CONFIGURED/...`: that is a path, and
beside it train and label map are missing.
"""

from pathlib import Path

import pytest

from launcher.planning import make_plan
from launcher.preflight import Finding, Options, Severity, check
from launcher.spec import load
from tests.preflight.own_files import found

ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
TABLE = Path(__file__).with_name("zoo_findings.txt")

needs_zoo = pytest.mark.skipif(not ZOO.is_dir(), reason="needs the 36 published files")

_ABOUT_TRAINING = {"global-batch", "batch-norm", "learning-rate", "image-budget", "schedule"}


def told_of(path: Path) -> tuple[Finding, ...]:
    return check(make_plan(load(path, [])), Options()).findings


def table() -> str:
    lines = []
    for path in sorted(ZOO.glob("*.config")):
        told = [f"{f.severity}: {f.name}" for f in told_of(path)]
        lines.append(f"{path.stem:<60} {', '.join(told) or '-'}")
    return "\n".join(lines) + "\n"


@needs_zoo
def test_the_table_is_as_it_was_looked_at() -> None:
    assert table() == TABLE.read_text()
    assert len(TABLE.read_text().splitlines()) == 36


@needs_zoo
def test_the_one_slip_in_a_path_is_told() -> None:
    (finding,) = (
        f
        for path in sorted(ZOO.glob("*.config"))
        for f in told_of(path)
        if f.severity is Severity.ERROR and "matches no file" in f.evidence
    )
    assert "PATH_TO_BEE_CONFIGURED/val2017" in finding.evidence
    assert finding.name == "data-shards"
    assert finding.place.startswith("ssd_efficientdet_d7_1536x1536_coco17_tpu-32.config:")


@needs_zoo
@pytest.mark.parametrize("spread", ["one device", "the recipe's cores"])
def test_nothing_about_batch_rate_or_schedule(spread: str) -> None:
    """On one device that holds the batch, and on as many as it was published for."""
    for path in sorted(ZOO.glob("*.config")):
        cores = path.stem.rpartition("-")[2]
        asked = () if spread == "one device" else (f"cluster.workers={cores}",)
        told = {f.name for f in found(path, *asked)}
        assert told.isdisjoint(_ABOUT_TRAINING), path.name


@needs_zoo
def test_the_names_that_must_not_appear_are_those_of_checks() -> None:
    """A file at batch 2 has them all but schedule."""
    path = ZOO / "ssd_efficientdet_d3_896x896_coco17_tpu-32.config"
    told = {f.name for f in found(path, "batch.per_replica_batch=2", "batch.global_batch=2")}
    assert {"global-batch", "batch-norm"} <= told


if __name__ == "__main__":
    TABLE.write_text(table())
