"""What a user sees of each kind of bad input: one line, its exit code, and nothing half made.

The tables beside the parts (specs, records, conversion) hold every text; here each kind is met
once through the commands. A fault in the middle of a record file, and a checkpoint of another
model, are found by the worker: tests/end_to_end/test_final_faults.py.
"""

import contextlib
import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher import api
from launcher.backends import local
from launcher.data import make_shapes
from launcher.records import Example, RecordWriter, read_records
from tests.disks import small

from .conftest import SCRIPTED, Launcher

SPEC = """name: demo
recipe: ssd_mobilenet_v2_fpnlite_320
data:
  train: data/train.record-*
  val: data/val.record-*
  label_map: data/label_map.pbtxt
  dataset: custom
batch: {per_replica_batch: 64}
"""
TRAIN = "data/train.record-00001-of-00004"
VAL = "data/val.record-00000-of-00001"

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """`launcher *args` in a folder with demo.yaml and data/, after `prepare` spoiled something."""

    says: str
    prepare: Prepare = lambda folder: None
    args: tuple[str, ...] = ("submit", "demo.yaml")
    code: int = 2
    process: bool = False
    """As a process of its own; otherwise `main` in this one, which is what the process calls."""


def spec(text: str, instead_of: str = "") -> Prepare:
    """Lines added to demo.yaml, or put in place of others."""

    def change(folder: Path) -> None:
        assert instead_of in SPEC
        new = SPEC.replace(instead_of, text) if instead_of else f"{SPEC}{text}\n"
        (folder / "demo.yaml").write_text(new)

    return change


def contents(name: str, change: Callable[[bytes], bytes]) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return prepare


def record(number: int, change: Callable[[Any], Any], name: str = TRAIN) -> Prepare:
    """`change` takes one record's Example, and may return other bytes for it."""

    def prepare(folder: Path) -> None:
        records = [r.data for r in read_records(folder / name)]
        example = Example.FromString(records[number])
        records[number] = change(example) or example.SerializeToString()
        with RecordWriter(folder / name) as writer:
            for data in records:
                writer.write(data)

    return prepare


def feature(name: str, kind: str, *values: Any) -> Callable[[Any], None]:
    """The first values of a feature replaced."""

    def change(example: Any) -> None:
        have = getattr(example.features.feature[name], kind).value
        have[: len(values)] = values

    return change


def box(*sides: float) -> Callable[[Any], None]:
    """ymin, xmin, ymax and xmax of the first box."""

    def change(example: Any) -> None:
        for name, side in zip(("ymin", "xmin", "ymax", "xmax"), sides, strict=True):
            feature(f"image/object/bbox/{name}", "float_list", side)(example)

    return change


def half_a_jpeg(example: Any) -> None:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "JPEG")
    encoded = file.getvalue()
    feature("image/encoded", "bytes_list", encoded[: len(encoded) // 2])(example)


def set_(*overrides: str) -> tuple[str, ...]:
    options = [part for override in overrides for part in ("--set", override)]
    return ("submit", "demo.yaml", *options)


def coco(box: list[float]) -> Prepare:
    """A COCO file of one image with one box."""

    def prepare(folder: Path) -> None:
        (folder / "images").mkdir()
        Image.new("RGB", (64, 48)).save(folder / "images" / "7.jpg")
        about = {
            "images": [{"id": 7, "file_name": "7.jpg", "width": 64, "height": 48}],
            "categories": [{"id": 1, "name": "cat"}],
            "annotations": [
                {"id": 3, "image_id": 7, "category_id": 1, "bbox": box, "area": 1, "iscrowd": 0}
            ],
        }
        (folder / "coco.json").write_text(json.dumps(about))

    return prepare


CONVERT = ("data", "convert", "coco.json", "images", "-o", "out", "--shards", "1")

CASES = {
    "a missing file": Case(
        "nope.yaml: no such file. Give the path of a job spec (YAML) or of a pipeline.config",
        args=("submit", "nope.yaml"),
        process=True,
    ),
    "a YAML syntax error": Case(
        "demo.yaml:10:1: not YAML: while parsing a flow sequence expected ',' or ']', but "
        "got '<stream end>'. Check the indentation, brackets and quotes here",
        spec("cluster: {workers: [1"),
    ),
    "an unknown key": Case(
        "demo.yaml:9: cluster.worker: unknown key. Did you mean workers?",
        spec("cluster: {worker: 2}"),
    ),
    "a wrong type": Case(
        "demo.yaml:9: cluster.workers: must be a whole number, not 'two'. Write a whole "
        "number, as 4",
        spec("cluster: {workers: two}"),
    ),
    "two sources of a recipe": Case(
        "demo.yaml:9: pipeline_config: both recipe and pipeline_config are set. Keep exactly "
        "one of them",
        spec("pipeline_config: mine.config"),
    ),
    "a name that is no DNS label": Case(
        "demo.yaml:1: name: 'Demo_Run' is not a name: 1 to 47 small letters, digits and "
        "dashes, no dash at an end (a DNS label). Use demo-run",
        spec("name: Demo_Run", "name: demo"),
    ),
    "an indivisible batch": Case(
        "demo.yaml:8: batch.global_batch: global batch 128 is not a multiple of replicas (1) "
        "x per_replica_batch (5) = 5: accumulation would be 25.6 steps. Nearest valid: "
        "batch.global_batch 125 (25 accumulation steps) or 130 (26 accumulation steps); or "
        "batch.per_replica_batch 4 or 8",
        args=set_("batch.per_replica_batch=5"),
    ),
    "zero": Case(
        "--set batch.global_batch: must be at least 1, not 0. Use a larger number",
        args=set_("batch.global_batch=0"),
    ),
    "a negative number": Case(
        "--set cluster.workers: must be at least 1, not -2. Use a larger number",
        args=set_("cluster.workers=-2"),
    ),
    "a glob that matches nothing": Case(
        "--set data.train: {folder}/data/trian.record-* matches no file. The folder "
        "{folder}/data has 7 files, such as label_map.pbtxt",
        args=set_("data.train=data/trian.record-*"),
    ),
    "a truncated TFRecord": Case(
        "{train}: record 3 at byte N: truncated: the file ends after N of its N bytes. "
        "Copying or converting the file was cut short: do it again",
        contents(TRAIN, lambda b: b[:-1]),
        process=True,
    ),
    "a truncated TFRecord of val": Case(
        "{val}: record 2 at byte N: truncated: the file ends after N of its N bytes. Copying "
        "or converting the file was cut short: do it again",
        contents(VAL, lambda b: b[: len(b) // 2]),
    ),
    "a file that is no TFRecord": Case(
        "{val}: record 0 at byte N: not a TFRecord file, or damaged from the start: its "
        "first bytes b'image,label\\n' are no header of a record. Name only files that "
        "`launcher data convert` or another converter wrote, or copy the file again",
        contents(VAL, lambda b: b"image,label\n" * 9),
    ),
    "a record that is not an Example": Case(
        "{train}: record 1 at byte N: not a tf.train.Example (18 bytes). Convert the data "
        "set again with `launcher data convert`",
        record(1, lambda e: b"no protobuf at all"),
    ),
    "a truncated JPEG": Case(
        "{train}: record 0 at byte N, source id 2: image/encoded is an image that cannot be "
        "decoded (image file is truncated (N bytes not processed)). Replace the image file "
        "and convert again",
        record(0, half_a_jpeg),
        process=True,
    ),
    "a box outside its image": Case(
        "{train}: record 2 at byte N, source id 10: box 0 (ymin 0.25, xmin 0.5, ymax 0.75, "
        "xmax 1.5) is outside its image, whose sides are 0 and 1. Correct this image's "
        "annotation and convert again",
        record(2, box(0.25, 0.5, 0.75, 1.5)),
    ),
    "a box in pixels": Case(
        "{val}: record 0 at byte N, source id 17: box 0 (ymin 3, xmin 6, ymax 48, xmax 64) "
        "is outside its image, whose sides are 0 and 1. Correct this image's annotation and "
        "convert again",
        record(0, box(3, 6, 48, 64), VAL),
    ),
    "a label not in the map": Case(
        '{train}: record 1 at byte N, source id 6: image/object/class/text "hexagon" of box '
        "0 is not in the label map. Train with the label map that the records were converted "
        "with",
        record(1, feature("image/object/class/text", "bytes_list", b"hexagon")),
    ),
    "a label map of other classes": Case(
        "{folder}/data/train.record-00000-of-00004: record 0 at byte N, source id 1: "
        'image/object/class/text "circle" of box 0 is not in the label map. Train with the '
        "label map that the records were converted with",
        contents("data/label_map.pbtxt", lambda b: b'item { id: 1 name: "cat" }'),
    ),
    "an empty shard": Case(
        "{train}: an empty shard: it has 0 records. Convert again with fewer shards than "
        "images, or leave the file out",
        contents(TRAIN, lambda b: b""),
        process=True,
    ),
    "fewer val images than expected": Case(
        "{folder}/data/val.record-*: 4 val images, 5,000 were expected. Name all shards with "
        "a pattern in data.val, or correct data.val_images",
        args=set_("data.val_images=5000"),
    ),
    "a file for run_dir": Case(
        "{train}/demo: cannot write (Not a directory). Remove the file that is in the way, or "
        "choose another place with run_dir",
        args=("submit", "demo.yaml", "--run-dir", TRAIN),
        code=1,
    ),
    "a run_dir that nobody can write": Case(
        "/proc/runs/demo: cannot write (No such file or directory). Choose another place with "
        "run_dir",
        args=("submit", "demo.yaml", "--run-dir", "/proc/runs", "--detach"),
        code=1,
        process=True,
    ),
    "a folder of something else": Case(
        "{folder}/runs/demo: exists and is not the folder of a run. Choose another name or run_dir",
        lambda folder: shutil.copytree(folder / "data", folder / "runs/demo") and None,
    ),
    "no folder of images": Case(
        "images: no such folder. Give the folder that holds the image files", args=CONVERT
    ),
    "a COCO box outside its image": Case(
        "coco.json: annotation 3 of image 7: bbox [60, 0, 40, 9] (x, y, width, height) of an "
        "image of 64 x 48 pixels sticks out of the image by 36 pixels. Correct it, or leave "
        "such boxes and images out with --skip-bad",
        coco([60, 0, 40, 9]),
        CONVERT,
        process=True,
    ),
}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "data"
    make_shapes(folder, train_images=16, val_images=4, image_size=64, seed=1)
    return folder


@pytest.fixture
def folder(work: Path, drawn: Path) -> Path:
    """The current directory: a good spec and its data."""
    shutil.copytree(drawn, work / "data")
    (work / "demo.yaml").write_text(SPEC)
    return work


@pytest.fixture
def command(env: dict[str, str], folder: Path, scripts: Callable[[str, str], None]) -> Launcher:
    """The real command, of whose runs only the processes are scripts."""
    scripts("forever()", "forever()")

    def run(*args: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-c", SCRIPTED, *args]
        return subprocess.run(
            argv, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def errors(done: "subprocess.CompletedProcess[str]", folder: Path) -> list[str]:
    """The lines on stderr but for warnings; folders by name, sizes and places in files as N."""
    names = {f"{folder}/{TRAIN}": "{train}", f"{folder}/{VAL}": "{val}", str(folder): "{folder}"}
    text = done.stderr
    for path, name in names.items():
        text = text.replace(path, name)
    text = re.sub(r"at byte \d+|after \d+ of its \d+|\(\d+ bytes not", _without_numbers, text)
    return [line for line in text.splitlines() if not line.startswith("warning: ")]


def _without_numbers(found: "re.Match[str]") -> str:
    return re.sub(r"\d+", "N", found[0])


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(
    name: str,
    folder: Path,
    inside: Launcher,
    command: Launcher,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = CASES[name]
    monkeypatch.setattr(api, "start", lambda *a, **k: pytest.fail("was not refused"))
    case.prepare(folder)
    before = files(folder)
    done = (command if case.process else inside)(*case.args)
    assert errors(done, folder) == [f"error: {case.says}"]
    assert (done.stdout, done.returncode) == ("", case.code)
    assert files(folder) == before


def test_good_input_runs_and_a_second_submit_is_refused(folder: Path, command: Launcher) -> None:
    """The good input is what all the cases are spoiled from."""
    done = command("submit", "demo.yaml", "--detach")
    try:
        assert done.returncode == 0, done.stderr
        again = command("submit", "demo.yaml", "--replace")
        assert again.returncode == 2
        assert errors(again, folder) == [
            "error: demo: is already running: RUNNING at step 0 of 50000 ({folder}/runs/demo). "
            "Stop it with `launcher cancel demo`; after that `submit --resume` continues it and "
            "`submit --replace` starts anew"
        ]
    finally:
        local.cancel(folder / "runs" / "demo", timeout=0)


@pytest.fixture
def full(folder: Path) -> Iterator[Path]:
    """A file system without a free byte; needs the right to mount one."""
    with small(folder / "disk", "64k") as disk:
        with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        yield disk


FULL = {
    ("submit", "demo.yaml", "--detach", "--run-dir", "disk"): (
        "{folder}/disk/demo/spec.yaml: cannot write (No space left on device). Free some space, "
        "or choose another place with run_dir"
    ),
    ("submit", "drawn.yaml", "--detach", "--run-dir", "disk"): (
        "{folder}/disk/data/shapes-40-4-128-0/label_map.pbtxt: cannot write (No space left on "
        "device). Free some space, or write to another folder"
    ),
    ("plan", "demo.yaml", "-o", "disk/plan"): (
        "disk/plan/spec.yaml: cannot write (No space left on device). Free some space, or choose "
        "another place with -o"
    ),
    ("data", "shapes", "disk/shapes", "--train-images", "40", "--val-images", "4"): (
        "{folder}/disk/shapes/label_map.pbtxt: cannot write (No space left on device). Free some "
        "space, or write to another folder"
    ),
}


@pytest.mark.parametrize("args", FULL, ids=" ".join)
def test_a_full_disk(full: Path, folder: Path, command: Launcher, args: tuple[str, ...]) -> None:
    drawn = SPEC.split("  train:")[0] + "  synthetic: {train_images: 40, val_images: 4}\n"
    (folder / "drawn.yaml").write_text(f"{drawn}batch: {{per_replica_batch: 64}}\n")
    done = command(*args)
    assert errors(done, folder) == [f"error: {FULL[args]}"]
    assert (done.stdout, done.returncode) == ("", 1)
    assert files(full) == {"filler"}
