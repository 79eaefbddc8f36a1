"""`data audit` lists every fault of a set with one of each kind; `data clean` leaves none."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.audit.mending import mend
from launcher.preflight.contents import Labels
from launcher.records import Example, expand, make_example, read_records, values

BAD = {
    # source id of the train record: kind of its fault, what is said, what clean does
    "10": ("boxes", "inverted", "object"),
    "11": ("boxes", "outside its image", "mended"),
    "12": ("boxes", "without an area", "object"),
    "13": ("image", "not an image", "record"),
    "14": ("boxes", "outside its image", "mended"),
    "15": ("labels", '"cow" of box 0 is not in the label map', "object"),
    "16": ("size", "says 60 x 80, the picture is 80 x 60", "mended"),
}


def test_a_good_set_has_no_fault(good: Path, launcher: Any) -> None:
    code, out, err = launcher("data", "audit", good, "--full")
    assert (code, err) == (0, "")
    assert out == "train: 0 of 20 records with a fault\nval: 0 of 5 records with a fault\n"


def test_every_fault_has_its_line(bad: Path, launcher: Any, tmp_path: Path) -> None:
    code, out, _ = launcher("data", "audit", bad, "--full", "-o", tmp_path / "faults.jsonl")
    assert code == 3
    rows = [json.loads(line) for line in (tmp_path / "faults.jsonl").read_text().splitlines()]
    by_id = {row["source_id"]: row for row in rows if row["split"] == "train"}
    for source, (kind, what, _) in BAD.items():
        assert by_id[source]["kind"] == kind, source
        assert what in by_id[source]["what"]
    second = str(bad.parent / "set" / "train.record-00001-of-00002")
    places = {(row["file"], row["record"]): row for row in rows}
    assert places[second, 7]["kind"] == "frame"
    assert "damaged data" in places[second, 7]["what"]
    assert places[second, 8]["kind"] == "source_id"
    assert places[second, 10]["kind"] == "duplicate"
    val = [row for row in rows if row["split"] == "val"]
    assert [(row["kind"], row["record"]) for row in val] == [("leak", 2), ("source_id", 5)]
    assert len(rows) == 12
    assert "train: 10 of 22 records with a fault" in out
    assert "val: 2 of 6 records with a fault" in out


def test_json_has_all(bad: Path, launcher: Any) -> None:
    code, out, _ = launcher("data", "audit", bad, "--full", "--json")
    found = json.loads(out)
    assert code == 3
    assert found["looked_at"] == {"train": 22, "val": 6}
    assert {"file", "record", "offset", "source_id", "what", "remedy"} <= set(found["faults"][0])


def test_a_sample_says_so(good: Path, launcher: Any) -> None:
    _, out, _ = launcher("data", "audit", good, "--sample", "4")
    assert "train: 0 of 4 records with a fault (20 are there: --full looks at all)" in out


def test_clean_leaves_no_fault(bad: Path, launcher: Any, tmp_path: Path) -> None:
    out = tmp_path / "clean"
    code, said, err = launcher("data", "clean", bad, "-o", out)
    assert (code, err) == (0, "")
    assert "train: 17 of 22 records; left out 5 records and 3 objects, mended" in said
    assert "val: 5 of 6 records; left out 1 records and 0 objects" in said
    sets = [f"data.train={out}/train.record-*", f"data.val={out}/val.record-*"]
    named = [part for one in sets for part in ("--set", one)]
    named += ["--set", f"data.label_map={out}/label_map.pbtxt"]
    code, said, _ = launcher("data", "audit", bad, "--full", *named)
    assert code == 0, said
    assert said.startswith("train: 0 of 17 records with a fault")


def test_the_report_names_every_change(bad: Path, launcher: Any, tmp_path: Path) -> None:
    launcher("data", "clean", bad, "-o", tmp_path / "clean", "--json")
    report = json.loads((tmp_path / "clean" / "clean.json").read_text())
    by_id = {row["source_id"]: row for row in report["dropped"] if row["split"] == "train"}
    for source, (_, _, action) in BAD.items():
        assert by_id[source]["action"] == action, source
        assert "train.record-00001-of-00002: record" in by_id[source]["place"]
    assert report["images"] == {"train": 17, "val": 5}
    assert report["counts"]["train record"] == 5


def test_what_is_good_is_the_same_bytes(bad: Path, launcher: Any, tmp_path: Path) -> None:
    launcher("data", "clean", bad, "-o", tmp_path / "clean")
    names = "train.record-00000-of-00002"
    before, after = bad.parent / "set" / names, tmp_path / "clean" / names
    assert before.read_bytes() == after.read_bytes()
    assert not [p for p in (tmp_path / "clean").iterdir() if p.name.startswith(".")]


def test_what_is_mended_is_right(bad: Path, launcher: Any, tmp_path: Path) -> None:
    launcher("data", "clean", bad, "-o", tmp_path / "clean")
    records = {}
    for path in expand(str(tmp_path / "clean" / "train.record-*")):
        for one in read_records(path):
            example = Example.FromString(one.data)
            records[values(example, "image/source_id")[0].decode()] = example
    pixels = records["11"]
    assert list(values(pixels, "image/object/bbox/ymin")) == pytest.approx([0.1, 0.5])
    assert list(values(pixels, "image/object/bbox/xmax")) == pytest.approx([0.9, 1.0])
    assert list(values(records["14"], "image/object/bbox/ymax")) == [1.0]
    assert list(values(records["10"], "image/object/area")) == [100.0]  # of the one that is left
    assert list(values(records["16"], "image/width")) == [80]
    assert list(values(records["15"], "image/object/bbox/ymin")) == []
    assert "19" not in records  # in val, too


def test_nothing_is_left_of_a_folder_that_failed(bad: Path, launcher: Any, tmp_path: Path) -> None:
    """All val records damaged."""
    path = bad.parent / "set" / "val.record-00000-of-00001"
    path.write_bytes(path.read_bytes()[:20])
    code, _, err = launcher("data", "clean", bad, "-o", tmp_path / "clean")
    assert code == 2
    assert "nothing of the val records can be used" in err
    assert not (tmp_path / "clean").exists()


def test_it_does_not_write_over_something_else(good: Path, launcher: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, _, err = launcher("data", "clean", good, "-o", tmp_path / "mine", "--force")
    assert code == 2
    assert "thesis.tex" in err


def test_missing_files_are_told_in_one_line(good: Path, launcher: Any) -> None:
    for command in ("stats", "audit"):
        code, _, err = launcher("data", command, good, "--set", "data.train=nothing-*")
        assert code == 2
        assert "matches no file" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("box", "left"),
    [
        ((0.1, 0.1, 0.9, 0.9), 1),
        ((-0.04, 0.1, 0.9, 0.9), 1),  # cut
        ((-0.2, 0.1, 0.9, 0.9), 0),  # elsewhere
        ((0.1, float("nan"), 0.9, 0.9), 0),
        ((1.0, 0.1, 1.04, 0.9), 0),  # nothing of it is inside
    ],
)
def test_one_box(box: tuple[float, ...], left: int) -> None:
    sides = ("ymin", "xmin", "ymax", "xmax")
    features = {f"image/object/bbox/{s}": [box[i]] for i, s in enumerate(sides)}
    example = make_example(features | {"image/object/class/label": [1]})
    changes = mend(example, Labels(num_classes=1), (80, 60))
    assert len(values(example, "image/object/bbox/ymin")) == left
    assert [change.dropped for change in changes] == ([] if box[0] == 0.1 and left else [not left])


def test_an_empty_shard_is_a_fault(good: Path, launcher: Any) -> None:
    """`submit` and `check` refuse it; alone it ended in 0 of 0 records and exit code 0."""
    empty = good.parent / "set" / "val.record-00000-of-00001"
    empty.write_bytes(b"")
    code, out, _ = launcher("data", "audit", good, "--full")
    assert code == 3
    assert out.splitlines()[0].startswith(f"error {empty}: an empty shard. Copy or convert")
    assert out.splitlines()[-1] == "val: 0 of 0 records with a fault, 1 empty or unreadable file"
    (row,) = json.loads(launcher("data", "audit", good, "--full", "--json")[1])["faults"]
    assert (row["split"], row["kind"], row["file"]) == ("val", "file", str(empty))


def test_clean_stops_at_a_file_that_cannot_be_opened(
    good: Path, launcher: Any, tmp_path: Path
) -> None:
    """Its records would be missing from the copy, and "20 of 20" be said of the others."""
    folder, out = good.parent / "set", tmp_path / "clean"
    (folder / "train.record-00002-of-00003").symlink_to("gone")
    os.mkfifo(folder / "val.record-00001-of-00002")
    code, said, err = launcher("data", "clean", good, "-o", out)
    assert (code, said) == (2, "")
    assert err.splitlines() == [
        f"error: {folder}/train.record-00002-of-00003: cannot read (No such file or directory). "
        "Check the path, its permissions and that its disk is mounted",
        f"error: {folder}/val.record-00001-of-00002: is no file, but a pipe or a device. "
        "Name only record files",
    ]
    assert not out.exists()


def test_clean_stops_at_a_url_among_files(good: Path, launcher: Any, tmp_path: Path) -> None:
    named = f"data.train=[{good.parent}/set/train.record-*, gs://bucket/train.record-*]"
    code, _, err = launcher("data", "clean", good, "-o", tmp_path / "clean", "--set", named)
    assert code == 2
    assert err == (
        "error: --set data.train: gs://bucket/train.record-* is a URL. Only files of this machine "
        "or of a mounted disk can be read: mount or copy them\n"
    )
    assert not (tmp_path / "clean").exists()


@pytest.mark.parametrize("command", ["stats", "audit", "clean"])
def test_a_set_of_which_nothing_can_be_opened(
    good: Path, launcher: Any, tmp_path: Path, command: str
) -> None:
    """It is not "only URLs are named"."""
    for name in ("train", "val"):
        for path in (good.parent / "set").glob(f"{name}*"):
            path.unlink()
            path.symlink_to("gone")
    more = ("-o", tmp_path / "clean") if command == "clean" else ()
    code, _, err = launcher("data", command, good, *more)
    assert code == 2
    assert len(err.splitlines()) == 3
    assert all("cannot read (No such file or directory)" in line for line in err.splitlines())


def test_what_to_write_into_a_spec_is_yaml(good: Path, launcher: Any, tmp_path: Path) -> None:
    out = tmp_path / "clean #2"
    _, said, _ = launcher("data", "clean", good, "-o", out)
    named = yaml.safe_load("\n".join(line.strip() for line in said.splitlines()[-3:]))
    assert named["data.train"] == f"{out}/train.record-?????-of-00002"
    assert named["data.label_map"] == f"{out}/label_map.pbtxt"


@pytest.mark.parametrize("force", [(), ("--force",)], ids=str)
def test_what_is_cleaned_is_not_replaced(
    good: Path, launcher: Any, tmp_path: Path, force: tuple[str, ...]
) -> None:
    """By its own copy: all names in the folder are ones that this program writes."""
    out = tmp_path / "made"
    assert launcher("data", "clean", good, "-o", out)[0] == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    for named in (
        {"train": "train.record-*", "val": "val.record-*", "label_map": "label_map.pbtxt"},
        {"val": "val.record-*"},
        {"label_map": "label_map.pbtxt"},
    ):
        sets = [
            part for key, name in named.items() for part in ("--set", f"data.{key}=made/{name}")
        ]
        with contextlib.chdir(tmp_path):
            code, _, err = launcher("data", "clean", good, "-o", out, *force, *sets)
        assert code == 2
        assert err.startswith(f"error: {out}: holds what is read, ")
        assert err.endswith(", and would be replaced. Choose another folder\n")
    assert {path: path.read_bytes() for path in out.iterdir()} == before
