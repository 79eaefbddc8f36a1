"""memory: does a replica's batch fit, how many do, and what makes room first."""

from pathlib import Path
from typing import Any

import pytest

from launcher import recipes
from launcher.odapi import pipeline
from launcher.planning import make_plan, memory_table, table
from launcher.planning import memory as sums
from launcher.planning.memory import Footprint
from launcher.preflight import Finding, Severity, memory
from launcher.preflight.subject import subject_of
from launcher.spec import load

# Round numbers: 1 GiB of state and fixed parts, 1 GiB an image; recomputed a quarter of it.
PLAIN, RECOMPUTED = (512.0, 512.0, 1024.0), (512.0, 512.0, 256.0)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(memory_table.PLAIN, "efficientdet_d3", PLAIN)
    monkeypatch.setitem(memory_table.RECOMPUTED, "efficientdet_d3", RECOMPUTED)
    monkeypatch.setattr(sums, "WORST", 0.25)
    path = tmp_path / "job.yaml"
    path.write_text("name: job\nrecipe: efficientdet_d3\ncluster: {gpus_per_worker: 1}\n")
    return path


def findings(path: Path, gib: float | None, *overrides: str) -> list[Finding]:
    return list(memory.check(subject_of(make_plan(load(path, overrides))), gib))


def test_the_sum() -> None:
    found = Footprint(*PLAIN)
    assert found.gib(4, accumulates=False) == 5.0
    assert found.gib(4, accumulates=True) == 5.25
    assert found.largest(5.0, accumulates=False) == 4
    assert found.largest(4.99, accumulates=False) == 3
    assert found.largest(0.5, accumulates=False) == 0


def test_what_does_not_fit_is_an_error(job: Path) -> None:
    (finding,) = findings(job, 8, "batch.per_replica_batch=8")
    assert finding.severity is Severity.ERROR
    assert finding.evidence == "the tensors of 8 images at once need 9.2 of 8 GiB; at most 5 fit"
    assert finding.remedy == (
        "train.recompute: true, with which at most 20 fit, or batch.per_replica_batch: 4"
    )
    assert finding.edits == ("batch.per_replica_batch=4",)
    assert finding.cost.text == "the run ends at its first step: out of memory"


def test_what_the_estimate_s_error_may_not_fit_is_a_warning(job: Path) -> None:
    (finding,) = findings(job, 10, "batch.per_replica_batch=8")
    assert finding.severity is Severity.WARNING
    assert "by the estimate's error more than that" in finding.evidence


def test_what_fits_tells_how_many_would(job: Path) -> None:
    (finding,) = findings(job, 24, "batch.per_replica_batch=8")
    assert (finding.severity, finding.edits) == (Severity.INFO, ())
    assert finding.evidence == "the tensors of 8 images at once need 9.2 of 24 GiB; at most 17 fit"
    assert finding.remedy.endswith("batch.per_replica_batch: 16")


def test_nothing_is_said_without_figures(job: Path) -> None:
    assert findings(job, None) == []
    memory_table.RECOMPUTED.pop("efficientdet_d3")
    (finding,) = findings(job, 8, "batch.per_replica_batch=8")
    assert finding.remedy == (
        "train.recompute: true first, whose saving was not traced for this model, "
        "or batch.per_replica_batch: 4"
    )
    (finding,) = findings(job, 24, "train.recompute=true")
    assert finding.severity is Severity.INFO
    assert finding.evidence == (
        "the memory of efficientdet_d3 with train.recompute was not traced yet: nothing can be said"
    )


@pytest.mark.parametrize("name", ["efficientdet_d3.config", "efficientdet_d3"])
def test_a_file_named_like_a_recipe_has_not_its_figures(job: Path, name: str) -> None:
    """The D3 of another image size, as its own reference."""
    message: Any = recipes.get("efficientdet_d3").build()
    resizer = message.model.ssd.image_resizer.keep_aspect_ratio_resizer
    resizer.min_dimension = resizer.max_dimension = 512
    pipeline.write(job.parent / name, message)
    job.write_text(
        f"name: job\npipeline_config: {name}\nbatch: {{reference_config: {name}}}\n"
        "cluster: {gpus_per_worker: 1}\n"
    )
    (finding,) = findings(job, 24)
    assert finding.severity is Severity.INFO
    assert finding.evidence == "the memory of this model was not traced yet: nothing can be said"
    plan = make_plan(load(job))
    assert plan.recipe == name
    (row,) = (row for row in table(plan, 24) if row.quantity == "memory")
    assert (row.run, row.why) == ("not known", "this model was not traced (docs/check.md)")


def test_recomputation_has_its_own_figures(job: Path) -> None:
    (finding,) = findings(job, 8, "batch.per_replica_batch=16", "train.recompute=true")
    assert finding.severity is Severity.INFO
    assert "need 5.2 of 8 GiB; at most 20 fit" in finding.evidence
