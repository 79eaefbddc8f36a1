"""overfit and baseline with real processes; the workers and evaluators are scripts."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.data import make_shapes
from launcher.odapi import pipeline
from launcher.records import Example, RecordWriter, make_example, read_records, values
from launcher.records.checkpoint import _MAGIC

from .conftest import SCRIPTED, Launcher

Scripts = Callable[[str, str], None]
Diagnose = Callable[..., "subprocess.CompletedProcess[str]"]

WORKER = """
beat(total)
(root / "metrics").mkdir(exist_ok=True)
with (root / "metrics" / "train.jsonl").open("w") as file:
    for step in range(1, 11):
        losses = {"Loss/classification_loss": {first} if step < 4 else {last}}
        file.write(json.dumps({"step": step, "losses": losses, "attempt": 0}) + "\\n")
"""
EVALUATOR = "score(total - 1, {before}); score(total, {points})"
BASELINE = """
if "--step" in sys.argv:
    print("12:00:00 scoring ckpt-0", file=sys.stderr)
    score(0, {before})
else:
    score(total, {after})
"""


def worker(first: float = 4.0, last: float = 0.02) -> str:
    return WORKER.replace("{first}", str(first)).replace("{last}", str(last))


@pytest.fixture
def diagnose(env: dict[str, str], work: Path, spec_file: Path) -> Diagnose:
    def run(command: str, *options: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", SCRIPTED, command, spec_file.name, *options],
            cwd=work, env=env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    return run


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder that looks like an unpacked tarball of the model zoo."""
    folder = tmp_path / "zoo" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "ckpt-0.index").write_bytes(b"_CHECKPOINTABLE_OBJECT_GRAPH" + _MAGIC)
    (folder / "ckpt-0.data-00000-of-00001").write_bytes(b"weights")
    return folder.parent


def test_a_chain_that_learns(diagnose: Diagnose, scripts: Scripts, work: Path) -> None:
    scripts(worker(), EVALUATOR.format(before=60, points=96))
    done = diagnose("overfit", "--images", "3", "--steps", "20")
    assert done.returncode == 0, done.stderr
    verdict = next(line for line in done.stdout.splitlines() if "verdict" in line)
    assert "learned by heart: mAP 0.960 on the" in verdict
    assert "not learned" not in verdict

    folder = work / "runs" / "data" / "demo-overfit"
    made = yaml.safe_load((folder / "spec.yaml").read_text())
    assert made["data"]["train"] == made["data"]["val"]
    records = list(read_records(made["data"]["train"]))
    assert len(records) == made["data"]["train_images"] == 3
    config = pipeline.read(folder / "pipeline.config").train_config
    assert not config.data_augmentation_options
    assert (config.num_steps, config.batch_size) == (20, 3)
    rate = config.optimizer.momentum_optimizer.learning_rate.cosine_decay_learning_rate
    # 0.08 belongs to 128 images (ssd_mobilenet_v2_fpnlite_320).
    assert rate.learning_rate_base == pytest.approx(0.08 * 3 / 128)
    assert (rate.total_steps, rate.warmup_steps) == (20, 4)
    plan = json.loads((work / "runs" / "demo-overfit" / "plan.json").read_text())
    assert (plan["global_batch"], plan["total_steps"], plan["workers"]) == (3, 20, 1)

    found = json.loads((work / "runs" / "demo-overfit" / "check.json").read_text())["findings"]
    assert {f["name"] for f in found} <= {"data-shards", "labels", "boxes", "images"}

    again = diagnose("overfit", "--images", "3")
    assert again.returncode == 2
    assert "demo-overfit" in again.stderr
    assert "--replace" in again.stderr


def test_a_chain_that_cannot_learn(diagnose: Diagnose, scripts: Scripts) -> None:
    scripts(worker(last=3.9), EVALUATOR.format(before=1, points=2))
    done = diagnose("overfit", "--images", "3", "--json")
    assert done.returncode == 4
    told = json.loads(done.stdout)
    assert told["final"]["mAP"] == 0.02
    assert told["verdict"]["passed"] is False
    assert "not learned by heart: mAP 0.020" in told["verdict"]["line"]
    assert "the loss itself did not fall far (4 to 3.9)" in " ".join(told["verdict"]["next"])

    scripts(worker(), EVALUATOR.format(before=30, points=60))
    done = diagnose("overfit", "--images", "3", "--replace")
    assert done.returncode == 4
    rows = [line for line in done.stdout.splitlines() if line.startswith("  next")]
    assert "is over 3 images: to tell it from the data, once more with `--set train.norm" in rows[2]
    assert "its mAP still rises" in rows[0]
    assert "the fault is behind it" in rows[1]


def test_baseline_tells_sane_data_from_suspect(
    diagnose: Diagnose, scripts: Scripts, checkpoint: Path, work: Path
) -> None:
    options = ("--checkpoint", str(checkpoint), "--set", "evaluate.target_map=52")
    scripts(worker(), BASELINE.format(before=51, after=50))
    done = diagnose("baseline", *options)
    assert done.returncode == 0, done.stderr
    assert "the data are sane: mAP 0.510 of 0.520 that are known before, 0.500 after" in done.stdout
    made = yaml.safe_load((work / "runs/data/demo-baseline/spec.yaml").read_text())
    assert made["train"]["fine_tune_checkpoint"] == str(checkpoint / "checkpoint" / "ckpt-0")
    assert made["train"]["fine_tune_type"] == "full"
    plan = json.loads((work / "runs" / "demo-baseline" / "plan.json").read_text())
    # A tenth of 0.08 at 128 images, for the 64 of one micro-batch.
    assert plan["learning_rate"] == pytest.approx(0.08 / 10 * 64 / 128)

    scripts(worker(), BASELINE.format(before=20, after=10))
    done = diagnose("baseline", *options, "--replace", "--json")
    assert done.returncode == 4
    told = json.loads(done.stdout)
    assert told["before"]["mAP"] == 0.2
    val, train = told["verdict"]["next"]
    assert val.startswith("val: 0.200 is far below 0.520")
    assert train.startswith("train: a low rate took 50% of its mAP")


def test_a_checkpoint_that_does_not_fit_is_one_message(
    diagnose: Diagnose, scripts: Scripts, checkpoint: Path, work: Path
) -> None:
    link = "str(root / 'checkpoints' / 'ckpt-0')"
    message = f"{link} + ': the checkpoint is of another model (shapes)'"
    scripts(worker(), f"fail(64, {message}, role='evaluator')")
    done = diagnose("baseline", "--checkpoint", str(checkpoint))
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert f"{checkpoint}/checkpoint/ckpt-0: the checkpoint is of another model" in errors[0]
    assert "3 classes" in errors[0]
    assert not (work / "runs" / "demo-baseline").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "9"], "9 images are asked for, 8 of the 8 train records"),
        (["--images", "0"], "--images: 0 images"),
        (["--rate", "-1"], "--rate: -1 is no learning rate"),
    ],
)
def test_overfit_refuses(
    options: list[str], message: str, inside: Launcher, spec_file: Path
) -> None:
    done = inside("overfit", spec_file.name, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("error:") == 1


def test_an_error_of_the_data_stops_it(inside: Launcher, work: Path) -> None:
    make_shapes(work / "set", train_images=4, val_images=1, image_size=64, seed=0)
    (work / "own.yaml").write_text(
        "name: own\nrecipe: ssd_mobilenet_v2_fpnlite_320\ndata: {dataset: custom, "
        "train: 'set/train.record-*', val: 'set/val.record-*', label_map: set/label_map.pbtxt, "
        "num_classes: 2}\n"  # the map has three
    )
    few = inside("overfit", "own.yaml", "--images", "2")
    assert few.returncode == 2
    assert "1 of the 4 train records can be taken" in few.stderr
    assert "--images 1, or mend the others: `launcher data audit`" in few.stderr
    done = inside("overfit", "own.yaml", "--images", "1")
    assert done.returncode == 3, done.stderr
    assert "warning: 3 train records with a fault are passed over" in done.stderr
    assert "error: " in done.stderr
    assert "labels: " in done.stderr
    assert not (work / "runs" / "own-overfit").exists()


def test_images_without_objects_are_not_taken(inside: Launcher, work: Path) -> None:
    make_shapes(work / "set", train_images=4, val_images=1, image_size=64, seed=0)
    empty(work / "set")
    (work / "own.yaml").write_text(
        "name: own\nrecipe: ssd_mobilenet_v2_fpnlite_320\ndata: {dataset: custom, "
        "train: 'set/train.record-*', val: 'set/val.record-*', label_map: set/label_map.pbtxt}\n"
    )
    done = inside("overfit", "own.yaml", "--images", "2")
    assert done.returncode == 2
    assert "2 images are asked for, 0 of the 4 train records" in done.stderr
    assert "launcher data audit" in done.stderr


def test_no_checkpoint_to_score(inside: Launcher, spec_file: Path, work: Path) -> None:
    def told(path: str) -> str:
        done = inside("baseline", spec_file.name, "--checkpoint", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("error:") == 1
        return done.stderr

    (work / "nothing").mkdir()
    assert "no checkpoint is in" in told("nothing")
    assert "no such checkpoint" in told("zoo/ckpt-0")
    (work / "nothing" / "ckpt-3.index").write_bytes(b"cut")
    assert "is not the index of a checkpoint" in told("nothing")


def empty(folder: Path) -> None:
    """The same train records without their objects."""
    for path in folder.glob("train.record-*"):
        kept: list[dict[str, Any]] = []
        for record in read_records(path):
            example = Example.FromString(record.data)
            names = [n for n in example.features.feature if "/object/" not in n]
            kept.append({n: list(values(example, n)) for n in names})
        with RecordWriter(path) as writer:
            for features in kept:
                writer.write(make_example(features))
