"""A head that does not see what whoever submits has: the run's folder, or the data."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.storage import read_json
from tests.end_to_end.small_run import make_run
from tests.ray_backend.nodes import HEAD, Nodes
from tests.ray_backend.ray_run import RayRun

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="needs a mount"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("head")
    for name in ("run", "val"):
        make_run(folder / name, steps=20, checkpoint_steps=20)
        (folder / name / "runs").mkdir()
    own = folder / "val" / "val-alone"  # so that it can be missing alone
    own.mkdir()
    for record in (folder / "val" / "data").glob("val.record-*"):
        record.rename(own / record.name)
    spec = folder / "val" / "small.yaml"
    spec.write_text(spec.read_text().replace("data/val.record", "val-alone/val.record"))
    return folder


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Nodes]:
    hidden = [folder / "run" / "runs", folder / "val" / "val-alone"]
    with Nodes(cpus=2, without=hidden) as cluster:
        yield cluster


def test_a_head_without_the_runs_folder(folder: Path, cluster: Nodes) -> None:
    run = RayRun(folder / "run", patience=400.0, address=cluster.url)
    try:
        run.submit()
        run.wait(lambda: run.told()["state"] == "FAILED", "the end", 300)
        told = run.told()
        assert told["reason"] == "bad-config", told
        assert "run_dir is not the same place for all nodes" in told["message"]
        assert f"node {HEAD} (" in told["message"]
        assert "Use a folder that all nodes share" in told["message"]
        assert "--resume" not in told["message"], "which would end the same way"
        (job,) = [j for j in cluster.jobs() if j["submission_id"] == "small-0"]
        assert job["driver_exit_code"] == 64
        assert "Traceback" not in job["message"]
    finally:
        run.end_all()


def test_a_head_without_the_val_records(folder: Path, cluster: Nodes) -> None:
    """Which no worker reads: before training, and not when the evaluator misses them."""
    run = RayRun(folder / "val", name="small", patience=400.0, address=cluster.url)
    try:
        run.submit()
        told = run.wait_end(300)
        assert (told["state"], told["reason"]) == ("FAILED", "bad-data"), run.tell()
        assert f"node {HEAD} (" in told["message"]
        assert "val-alone/val.record-*: " in told["message"]
        assert not run.rows()
        assert read_json(run.paths.progress(0)) is None
    finally:
        run.end_all()
