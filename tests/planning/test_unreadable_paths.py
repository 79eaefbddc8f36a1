"""Data at a path that may not be looked up, or that can be none: one message, no traceback."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.planning import make_plan, missing_data
from launcher.records import expand, require_records
from launcher.records.files import file_mode
from launcher.spec import from_mapping

LONG = "x" * 300
MORTAL = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Without root's right to open everything."""
RUN = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from launcher.cli.main import run
told = []
for argv in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        told.append((run(argv), err.getvalue() or out.getvalue()))
print(json.dumps(told))
"""


def commands(work: Path, *lines: tuple[str, ...]) -> list[tuple[int, str]]:
    """Exit code and message of each command on job.yaml, without root's rights. In one process."""
    rights = MORTAL if os.geteuid() == 0 else ()
    argv = json.dumps(
        [
            [
                *line[: 2 if line[0] == "data" else 1],
                "job.yaml",
                *line[2 if line[0] == "data" else 1 :],
            ]
            for line in lines
        ]
    )
    done = subprocess.run(
        [*rights, sys.executable, "-c", RUN, argv],
        cwd=work, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(code, said) for code, said in json.loads(done.stdout)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A spec of data that is not there, and a folder that nobody may look into."""
    if os.geteuid() == 0 and not shutil.which(MORTAL[0]):
        pytest.skip("root may read everything")
    (tmp_path / "job.yaml").write_text(
        "name: job\nrecipe: ssd_mobilenet_v2_fpnlite_320\n"
        "data: {dataset: custom, train: t.record, val: v.record, label_map: l.pbtxt}\n"
    )
    inside = tmp_path / "locked" / "inside"
    inside.mkdir(parents=True)
    (inside / "t.record").touch()
    (tmp_path / "locked").chmod(0)
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


PATHS = (
    "locked/t.record", "locked/t*.record", "locked/inside/t.record", "locked/inside/t*",
    f"{LONG}/t.record", f"{LONG}/t*", f"{LONG}.record", "loop", "loop/t.record", "loop/t*",
)  # fmt: skip


def test_records_end_as_missing_ones_do(work: Path) -> None:
    names = ("plan", "check", "submit")
    named = [("--set", f"data.train={path}") for path in PATHS]
    assert [code for code, _ in commands(work, *((n,) for n in names))] == [0, 3, 2]
    told = commands(work, *((name, *setting) for setting in named for name in names))
    for path, plan, check, submit in zip(PATHS, told[::3], told[1::3], told[2::3], strict=True):
        assert (plan[0], check[0], submit[0]) == (0, 3, 2), path
        assert str(work / path) in check[1].split()
        assert submit[1].count(f"{work / path} ") == 1
        assert path[:4] != "lock" or f"{work / path} cannot read (Permission denied)" in submit[1]


def test_a_label_map_that_can_be_none_is_a_missing_one(work: Path) -> None:
    paths = (f"{LONG}/l", f"{LONG}.pbtxt", "loop", "loop/l")
    named = [("--set", f"data.label_map={path}") for path in paths]
    told = commands(
        work, *((name, *setting) for setting in named for name in ("plan", "check", "submit"))
    )
    assert [code for code, _ in told] == [0, 3, 2] * len(paths)
    for path, (_, said) in zip(paths, told[2::3], strict=True):
        assert f"{work / path}: no such file. Name a label map" in said


def test_a_label_map_that_may_not_be_looked_up(work: Path) -> None:
    message = (
        f"{work}/locked/l.pbtxt: cannot read (Permission denied). "
        "Check the path, its permissions and that its disk is mounted\n"
    )
    named = ("--set", "data.label_map=locked/l.pbtxt")
    coco = (*named, "--set", "data.dataset=coco2017")  # whose classes are known
    *told, plan, submit = commands(
        work,
        *((name, *named) for name in ("plan", "check", "submit")),
        *((name, *coco) for name in ("plan", "submit")),
    )
    assert told == [(2, f"error: {message}")] * 3
    assert plan[0] == 0
    assert submit[0] == 2
    assert f"error: --set data.label_map: {message}" in submit[1]
    assert len(submit[1].splitlines()) == 3  # with train and val, which are not there


def test_drawn_data_in_a_folder_of_that_kind(work: Path) -> None:
    drawn = "data={synthetic: {train_images: 8, val_images: 2}}"
    lines = [(*c, "--set", drawn) for c in (("check",), ("data", "stats"))]
    locked, long = ("--run-dir", "locked/inside"), ("--run-dir", LONG)
    told = commands(work, *((*line, *where) for where in (locked, long) for line in lines))
    assert [code for code, _ in told] == [2, 2, 0, 2]
    assert all(said.startswith(f"error: {work}/locked/inside/data/") for _, said in told[:2])
    assert "data.synthetic is drawn by submit, and is not there yet" in told[3][1]


def test_a_path_that_can_be_none_is_the_user_s_mistake(tmp_path: Path) -> None:
    """Not the disk's: DataError, as for one that is not there."""
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "loop", tmp_path / LONG):
        with pytest.raises(DataError, match=r"cannot read \((Too many levels|File name too long)"):
            require_records([path])
        with pytest.raises(DataError, match="cannot read"):
            expand(path)
        assert file_mode(path) is None
    assert file_mode("a\0b") is None
    with pytest.raises(DataError, match="matches no file"):
        expand("a\0b")


def test_a_pattern_may_be_longer_than_a_name(tmp_path: Path) -> None:
    (tmp_path / ("7" * 60)).touch()
    assert len(expand(tmp_path / ("[0-9]" * 60))) == 1


def test_all_that_is_missing_is_told(tmp_path: Path) -> None:
    paths = dict.fromkeys(("train", "val", "label_map"), f"{tmp_path}/{LONG}")
    spec = from_mapping({"name": "x", "recipe": "efficientdet_d0", "data": paths})
    make_plan(spec)
    assert [p.place for p in missing_data(spec)] == ["data.train", "data.val", "data.label_map"]
