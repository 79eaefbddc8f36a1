"""A batch that cannot be divided: the whole message, because the user acts on nothing else."""

from pathlib import Path

import pytest

from launcher.errors import CliExit, SpecError
from launcher.planning import make_plan
from launcher.spec import from_mapping, load

REFUSED = {
    "3 GPUs of 4 images": (
        {"cluster": {"gpus_per_worker": 3}, "batch": {"per_replica_batch": 4}},
        "batch.global_batch: global batch 128 is not a multiple of replicas (3) x "
        "per_replica_batch (4) = 12: accumulation would be 10.67 steps. Nearest valid: "
        "batch.global_batch 120 (10 accumulation steps) or 132 (11 accumulation steps); or 2 or 4 "
        "GPUs instead of 3; or batch.per_replica_batch 3 or 6 with batch.global_batch 126",
    ),
    "8,000 GPUs": (
        {"cluster": {"workers": 1000, "gpus_per_worker": 8}, "batch": {"per_replica_batch": 4}},
        "cluster.workers: global batch 128 is less than replicas (8,000) x per_replica_batch (4) "
        "= 32,000. Nearest valid: 32 GPUs in all instead of 8,000; or batch.global_batch 32000, "
        "for which linear scaling would make the learning rate 0.08 x 250 = 20 over 1,200 steps, "
        "far beyond what was shown to train",
    ),
    "8,000 GPUs, default images": (
        {"cluster": {"workers": 1000, "gpus_per_worker": 8}},
        "cluster.workers: global batch 128 is less than replicas (8,000) x per_replica_batch (1) "
        "= 8,000. Nearest valid: 128 GPUs in all instead of 8,000; or batch.global_batch 8000, "
        "for which linear scaling would make the learning rate 0.08 x 62.5 = 5 over 4,800 steps, "
        "far beyond what was shown to train",
    ),
    "images that do not fit the batch": (
        {"batch": {"per_replica_batch": 5}},
        "batch.global_batch: global batch 128 is not a multiple of replicas (1) x "
        "per_replica_batch (5) = 5: accumulation would be 25.6 steps. Nearest valid: "
        "batch.global_batch 125 (25 accumulation steps) or 130 (26 accumulation steps); or "
        "batch.per_replica_batch 4 or 8",
    ),
    "more images than the batch": (
        {"cluster": {"workers": 4}, "batch": {"per_replica_batch": 64}},
        "batch.global_batch: global batch 128 is less than replicas (4) x per_replica_batch (64) "
        "= 256. Nearest valid: 2 workers instead of 4; or batch.per_replica_batch 32; or "
        "batch.global_batch 256, for which linear scaling would make the learning rate 0.08 x 2 = "
        "0.16 over 150,000 steps",
    ),
    "a prime batch": (
        {"cluster": {"workers": 2}, "batch": {"global_batch": 127, "per_replica_batch": 4}},
        "batch.global_batch: global batch 127 is not a multiple of replicas (2) x "
        "per_replica_batch (4) = 8: accumulation would be 15.88 steps. Nearest valid: "
        "batch.global_batch 120 (15 accumulation steps) or 128 (16 accumulation steps); or 1 "
        "worker of 1 image each; or batch.per_replica_batch 3 or 7 with batch.global_batch 126",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_message_names_every_way_out(name: str) -> None:
    values, message = REFUSED[name]
    with pytest.raises(SpecError) as caught:
        make_plan(from_mapping({"name": "x", "recipe": "efficientdet_d3", **values}))
    assert str(caught.value) == message
    assert caught.value.cli_exit == CliExit.USAGE


def test_a_message_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "d3.yaml"
    path.write_text("name: x\nrecipe: efficientdet_d3\nbatch:\n  global_batch: 100\n")
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, ["batch.per_replica_batch=3"]))
    assert str(caught.value).startswith(f"{path}:4: batch.global_batch: global batch 100 is not")
    with pytest.raises(SpecError) as caught:
        make_plan(load(path, ["batch.global_batch=101", "batch.per_replica_batch=3"]))
    assert str(caught.value).startswith("--set batch.global_batch: global batch 101 is not")


@pytest.mark.parametrize("workers", [2**31 - 1, 2**30])
def test_a_huge_cluster_is_refused_in_a_moment(workers: int) -> None:
    values = {"name": "x", "recipe": "efficientdet_d3", "cluster": {"workers": workers}}
    with pytest.raises(SpecError, match="less than replicas"):
        make_plan(from_mapping(values))
    values["cluster"] = {"workers": workers, "gpus_per_worker": 1024}
    with pytest.raises(SpecError, match="At most 2,147,483,647"):
        make_plan(from_mapping(values))


def test_a_huge_batch_leaves_no_step_after_the_warm_up() -> None:
    values = {"name": "x", "recipe": "efficientdet_d3", "batch": {"global_batch": 2**31 - 2}}
    with pytest.raises(SpecError, match="leave none of 1 for the decay"):
        make_plan(from_mapping(values))
