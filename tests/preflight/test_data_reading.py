"""Reading: what is looked at, in how many processes, and what is not a file."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from launcher import recipes
from launcher.errors import DataError
from launcher.odapi import pipeline
from launcher.planning import make_plan, missing_data
from launcher.preflight import Options, Severity, check, reading
from launcher.preflight.contents import Contents
from launcher.preflight.reading import read_data
from launcher.records import read_records
from launcher.records.frames import read_frames
from launcher.spec import load

UNNAMED = [
    ("data-shards", "data.train is not set"),
    ("data-shards", "data.val is not set"),
    ("labels", "data.label_map is not set"),
]


def test_frames_are_those_that_a_reader_finds(data: Any) -> None:
    path = data.path("train", 2)
    frames, records = read_frames(path), list(read_records(path))
    assert frames.offsets.tolist() == [record.offset for record in records]
    assert frames.sizes.tolist() == [len(record.data) + 16 for record in records]
    assert frames.count == 5
    assert len(set(frames.sums.tolist())) == 5
    assert frames.file_bytes == path.stat().st_size


def test_large_and_small_records_in_turn(tmp_path: Path) -> None:
    """Pieces of the file, and the gaps between them."""
    from launcher.records import RecordWriter

    rng = np.random.default_rng(0)
    sizes = [int(size) for size in 10 ** rng.uniform(0, 6, 80)] + [0, 1, 4080, 4096, 262_144]
    path = tmp_path / "mixed"
    with RecordWriter(path) as writer:
        for size in sizes:
            writer.write(bytes(size))
    frames = read_frames(path)
    assert (frames.sizes - 16).tolist() == sizes
    assert frames.offsets.tolist() == [record.offset for record in read_records(path)]
    same = [frames.sums[i] == frames.sums[-1] for i in range(len(sizes))]
    assert same == [size == sizes[-1] for size in sizes]


def test_the_sample_is_spread_over_all_files(data: Any) -> None:
    read = read_data(data.plan(), sample=8, progress=False)
    assert read.train.contents.file.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert read.train.contents.number.tolist() == [0, 4] * 4  # the first and the last one
    assert not read.train.is_whole
    assert read.val.is_whole
    assert read.train.count == 20


def test_full_looks_at_all(data: Any) -> None:
    assert read_data(data.plan(), sample=1, full=True, progress=False).train.is_whole


def test_damaged_records_are_not_counted_as_decoded(data: Any, make_record: Any) -> None:
    """A cut one is no image; one that is no Example, or has a broken picture, counts as one."""
    data.records["train"][1][0] = b"no Example"
    data.records["train"][2][0] = make_record(7, encoded=b"no picture")
    data.write()
    path = data.path("train", 0)
    path.write_bytes(path.read_bytes()[:-3])
    train = data.check(full=True).summary.train
    assert (train.images, train.decoded, train.is_whole) == (19, 17, True)


def test_a_set_that_is_still_to_be_drawn_is_said_not_to_be_looked_at(tmp_path: Path) -> None:
    drawn = load("configs/demo.yaml", [f"run_dir={tmp_path}"])
    report = check(make_plan(drawn))
    (found,) = report.findings
    assert found.severity is Severity.INFO
    assert found.evidence == (
        "the synthetic set is not drawn yet: nothing of the data was looked at"
    )
    assert found.place == drawn.place("data.synthetic")


def test_a_spec_that_names_no_data_cannot_start(tmp_path: Path) -> None:
    """Only a published file as it is, without a spec, says PATH_TO_BE_CONFIGURED and no more."""
    path = tmp_path / "job.yaml"
    path.write_text("name: job\nrecipe: efficientdet_d3\n")
    assert [(f.name, f.evidence) for f in check(make_plan(load(path))).errors] == UNNAMED
    published = tmp_path / "pipeline.config"
    pipeline.write(published, recipes.get("efficientdet_d3").build())
    report = check(make_plan(load(published)), Options())
    assert report.errors == ()
    assert "no records are named yet: nothing of the data was looked at" in [
        f.evidence for f in report.findings
    ]
    path.write_text("name: job\npipeline_config: pipeline.config\n")
    assert [(f.name, f.evidence) for f in check(make_plan(load(path))).errors] == UNNAMED
    one_set = check(make_plan(load(published, ["data.train=/gone/t-*"])))
    assert "data.val is not set" in [f.evidence for f in one_set.errors]
    message: Any = pipeline.read(published)
    message.train_input_reader.tf_record_input_reader.ClearField("input_path")
    pipeline.write(published, message)
    assert [(f.name, f.evidence) for f in check(make_plan(load(published))).errors] == UNNAMED


def test_several_processes_find_the_same(data: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data.path("train", 1).write_bytes(data.path("train", 1).read_bytes()[:-3])
    one = read_data(data.plan(), progress=False).train.contents
    monkeypatch.setattr(reading, "_ONE_PROCESS", 0)
    monkeypatch.setattr(reading, "_TASK", 2)
    many = read_data(data.plan(), progress=False).train.contents
    for name in vars(Contents()):
        first, second = getattr(one, name), getattr(many, name)
        if isinstance(first, np.ndarray):
            np.testing.assert_array_equal(first, second, err_msg=name)
        elif name != "faults":
            assert first == second, name
    assert [fault.place for fault in one.faults] == [fault.place for fault in many.faults]


def test_a_pipe_is_not_waited_for(data: Any) -> None:
    path = data.path("train", 1)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match="a pipe or a device"):
        read_frames(path)
    assert any("a pipe or a device" in f.evidence for f in data.find("data-shards"))


def test_a_link_to_nowhere(data: Any) -> None:
    path = data.path("train", 1)
    path.unlink()
    path.symlink_to(data.folder / "gone")
    assert any("No such file" in f.evidence for f in data.find("data-shards"))


def test_importing_the_checks_loads_nothing_heavy() -> None:
    program = (
        "import sys, launcher.preflight, launcher.audit, launcher.cli.data_look;"
        "print([m for m in ('numpy', 'PIL', 'matplotlib', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_memory_stays_flat(data: Any) -> None:
    """A record leaves some 20 bytes behind; of 24 MB less than 8 are held at a time."""
    content = data.path("train", 0).read_bytes()
    for index in range(40):
        (data.folder / f"m.record-{index:05d}-of-00040").write_bytes(content * 64)
    kept = []
    for files in ("0000?", "000??"):
        plan = data.plan(train=str(data.folder / f"m.record-{files}-*"), val=None)
        tracemalloc.start()
        read = read_data(plan, sample=50, progress=False)
        now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        kept.append(now)
        assert peak < 8 << 20
    assert read.train.count == 40 * 64 * 5
    assert kept[1] - kept[0] < 30 * (64 * 5) * 32


@pytest.mark.parametrize("key", ["data.train", "data.val", "data.label_map"])
def test_what_alone_is_not_named_stops_the_run(data: Any, key: str) -> None:
    """As `submit` says it."""
    unset = {key.partition(".")[2]: None}
    found = data.check(**unset).findings
    errors = [f for f in found if f.severity is Severity.ERROR]
    assert [f.evidence for f in errors] == [f"{key} is not set"]
    (problem,) = missing_data(data.plan(**unset).spec)
    assert (problem.place, problem.remedy) == (errors[0].place, errors[0].remedy)


@pytest.mark.parametrize("reader", ["train_input_reader", "eval_input_reader"])
@pytest.mark.parametrize(
    "unset", ['tf_record_input_reader { input_path: "" }', "external_input_reader {}"]
)
def test_a_reader_without_a_path(data: Any, tmp_path: Path, reader: str, unset: str) -> None:
    message = recipes.get(data.recipe).build()
    for name, split in (("train_input_reader", "train"), ("eval_input_reader", "val")):
        one = message.eval_input_reader[0] if split == "val" else message.train_input_reader
        path = str(data.folder / f"{split}.record-*")
        written = f'tf_record_input_reader {{ input_path: "{path}" }}' if name != reader else unset
        one.ClearField("tf_record_input_reader")
        text_format.Merge(written, one)
        one.label_map_path = str(data.folder / "labels.pbtxt")
    pipeline.write(tmp_path / "pipeline.config", message)
    report = check(make_plan(load(tmp_path / "pipeline.config")), Options())
    key = {"train_input_reader": "data.train", "eval_input_reader": "data.val"}[reader]
    (error,) = (f for f in report.errors if f.name == "data-shards")
    assert error.evidence == f"{key} is not set"
    assert error.place.endswith(f"{reader}.input_path")
