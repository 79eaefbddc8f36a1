"""The table that people read: the recipe's numbers, their file's, the run's, and why."""

from pathlib import Path

import pytest

from launcher.planning import Row, make_plan, memory, memory_table, table
from launcher.spec import from_mapping, load


def rows_of(*overrides: str, path: Path | None = None) -> dict[str, Row]:
    if path is not None:
        spec = load(path, overrides)
    else:
        spec = from_mapping({"name": "x", "recipe": "efficientdet_d3"}, overrides=overrides)
    return {row.quantity: row for row in table(make_plan(spec))}


def test_the_seeds_numbers_stand_beside_the_recipes(shared: Path) -> None:
    rows = rows_of("cluster.gpus_per_worker=1", path=shared / "seed" / "pipeline.config")

    def numbers(quantity: str) -> tuple[str, str, str]:
        row = rows[quantity]
        return row.recipe, row.file, row.run

    assert numbers("global batch") == ("128", "2", "128")
    assert numbers("images per replica") == ("4", "", "2")
    assert numbers("accumulation steps") == ("", "", "64")
    assert numbers("learning rate") == ("0.08", "0.01", "0.08")
    assert numbers("warm-up from") == ("0.001", "0.001", "0.001")
    assert numbers("warm-up steps") == ("2,500", "2,500", "2,500")
    assert numbers("steps") == ("300,000", "600,000", "300,000")
    assert numbers("images seen") == ("38,400,000", "1,200,000", "38,400,000")
    assert numbers("epochs") == ("324.6", "10.14", "324.6")
    assert rows["learning rate"].why == "the recipe's, which belongs to a global batch of 128"
    assert rows["replicas"].why == "1 worker x 1 GPU"
    assert rows["moments over"].run == "2"
    assert rows["normalization"].run == "moving"
    assert rows["starts from"].run == "classification checkpoint"
    assert rows["target mAP"].run == "45.4"


@pytest.mark.parametrize(
    ("images", "file", "run"), [(5, "240,000", "7,680,000"), (600_000, "2", "64")]
)
def test_epochs_have_one_format(shared: Path, images: int, file: str, run: str) -> None:
    override = f"data.train_images={images}"
    row = rows_of(override, path=shared / "seed" / "pipeline.config")["epochs"]
    assert (row.file, row.run) == (file, run)


def test_a_scaled_run_says_by_how_much() -> None:
    rows = rows_of("batch.global_batch=64", "cluster.workers=2")
    assert rows["learning rate"].why == "the recipe's x 0.5 (linear rule: batch / 128)"
    assert rows["steps"].why == "the recipe's / 0.5: the same number of images"
    assert rows["replicas"].why == "2 workers x 1 CPU"
    kept = rows_of("batch.global_batch=64", "batch.lr_scaling=none")
    assert kept["learning rate"].why == "the recipe's, kept (lr_scaling: none)"
    assert kept["learning rate"].run == "0.08"


def test_what_is_not_known_is_not_invented() -> None:
    rows = rows_of("data.dataset=custom")
    assert rows["epochs"].run == ""
    assert rows["epochs"].why == "the number of train images is not given"
    assert rows["target mAP"].run == "none"


def test_memory_is_a_row_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # 1 GiB of state and fixed parts, 1 GiB an image; measured peaks a quarter above.
    monkeypatch.setitem(memory_table.PLAIN, "efficientdet_d3", (512.0, 512.0, 1024.0))
    monkeypatch.setattr(memory, "WORST", 0.25)
    overrides = ("batch.per_replica_batch=8", "batch.global_batch=8")
    plan = make_plan(from_mapping({"name": "x", "recipe": "efficientdet_d3"}, overrides=overrides))
    assert "memory" not in {row.quantity for row in table(plan)}

    def row(gib: float) -> Row:
        return next(row for row in table(plan, gib) if row.quantity == "memory")

    assert row(24).run == "9.0 of 24 GiB"
    assert row(24).why.startswith("fits, as far as is known: the tensors of 8 images; at most 18")
    assert row(10).why.startswith("may not fit: the tensors of 8 images; at most 7 fit, 4 with")
    assert row(8).why.startswith("cannot fit")
    assert "not one fits" in row(1).why
    fit = memory.fit_of(plan, 10)
    assert fit is not None
    assert fit.to_json() == {
        "available": 10, "images": 8, "needed": 9.0, "largest": 7, "dividing": 4, "error": 0.25,
        "verdict": "may not fit",
    }  # fmt: skip

    other = make_plan(from_mapping({"name": "x", "recipe": "efficientdet_d7"}))
    why = {r.quantity: r for r in table(other, 24)}["memory"]
    assert why.run == "not known"
    assert "efficientdet_d7 was not traced" in why.why
