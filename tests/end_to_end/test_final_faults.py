"""Faults that only a worker can find: one attempt, the exit code, and what `launcher` says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.contract import RunPaths
from launcher.data import make_shapes
from launcher.records import Example, RecordWriter, read_records

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(600)]

DEMO = Path(__file__).resolve().parents[2] / "configs" / "demo.config"
BAD_RECORD = 11

# `launcher` with real workers; the evaluator, which has nothing to score here, only waits.
WITHOUT_EVALUATOR = """
import sys
from launcher import planning

real = planning.make_plan

def make_plan(spec):
    plan = real(spec)
    wait = ("-c", "import time; time.sleep(600)")
    roles = [r.model_copy(update={"argv": wait} if r.name == "evaluator" else {})
             for r in plan.roles]
    return plan.model_copy(update={"roles": tuple(roles)})

planning.make_plan = make_plan
from launcher.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of a small run of one worker, whose file 2 has half an image in its middle."""
    folder = tmp_path_factory.mktemp("faults")
    make_shapes(folder / "data", train_images=64, val_images=4, image_size=64, seed=1)
    (folder / "small.yaml").write_text(
        f"""
name: small
pipeline_config: {DEMO}
data:
  train: data/train.record-*
  val: data/val.record-*
  label_map: data/label_map.pbtxt
  dataset: custom
batch: {{global_batch: 8, per_replica_batch: 8}}
train: {{checkpoint_every: {{steps: 1}}}}
run_dir: runs
"""
    )
    return folder


def cut_an_image(path: Path, number: int) -> None:
    records = [record.data for record in read_records(path)]
    example = Example.FromString(records[number])
    encoded = example.features.feature["image/encoded"].bytes_list.value
    encoded[0] = encoded[0][: len(encoded[0]) // 2]
    records[number] = example.SerializeToString()
    with RecordWriter(path) as writer:
        for data in records:
            writer.write(data)


def submit(folder: Path, *options: str) -> tuple[int, str, dict[str, Any], RunPaths]:
    argv = [sys.executable, "-c", WITHOUT_EVALUATOR, "submit", "small.yaml", "--wait", *options]
    env = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(
        argv, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    paths = RunPaths(folder / "runs" / "small")
    return done.returncode, done.stderr, json.loads(paths.status.read_text()), paths


def test_a_bad_image_in_the_middle_then_another_model(folder: Path) -> None:
    shard = folder / "data" / "train.record-00002-of-00004"
    whole = shard.read_bytes()
    cut_an_image(shard, BAD_RECORD)
    code, told, status, paths = submit(folder, "--force")  # the check would tell, of so few
    assert code == 1
    assert "Traceback" not in told
    assert (status["state"], status["reason"]) == ("FAILED", "bad-data")
    assert (status["attempt"], status["restarts"]) == (0, 0)
    failure = json.loads(paths.failure("worker").read_text())
    assert failure["exit"] == 65
    assert re.match(
        rf"{re.escape(str(shard))}: record {BAD_RECORD} at byte \d+, source id \d+: image/encoded "
        r"is an image that cannot be decoded \(.*\)\. Replace the image file and convert again",
        failure["message"],
    )
    assert told.splitlines()[-1] == (
        f"error: small: FAILED (bad-data): worker-0: {failure['message']}"
    )
    saved = sorted(paths.checkpoints.glob("ckpt-*.index"))
    assert saved, "no step was taken before the bad image was met"

    # The data is mended, and the run to be continued as another model: five classes.
    shard.write_bytes(whole)
    code, told, after, _ = submit(folder, "--resume", "--set", "data.num_classes=5")
    assert code == 2
    assert told.splitlines() == [
        "error: --set data.num_classes: is 5, the run has not set. Set it back, or submit under "
        "another name: the checkpoints are of the run's model"
    ]
    assert after == status, "nothing was started"
    assert sorted(paths.checkpoints.glob("ckpt-*.index")) == saved
