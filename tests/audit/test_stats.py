"""`data stats`: the numbers, as a table, as JSON, as plots."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.records import RecordWriter, make_example


def test_numbers_of_a_small_set(good: Path, launcher: Any) -> None:
    code, out, _ = launcher("data", "stats", good, "--json")
    found = json.loads(out)
    assert code == 0
    train = found["train"]
    assert (train["images"], train["decoded"], train["files"], train["objects"]) == (20, 20, 2, 20)
    assert train["classes"] == {"1": 10, "2": 10}
    assert train["class_images"] == {"1": 10, "2": 10}
    assert found["val"]["classes"] == {"1": 3, "2": 2}
    assert train["common_sizes"] == [["80 x 60", 20]]
    assert train["objects_per_image"]["max"] == 1
    # 40 x 30 px of 80 x 60, stretched to 320 x 320: 160 x 160.
    assert train["sides"]["p50"] == 160
    assert train["aspects"]["p50"] == 1
    assert [one["objects"] for one in train["bins"]] == [0, 0, 0, 0, 0, 20, 0, 0]
    assert train["bins"][5]["matched"] == 1.0
    assert train["unmatched"] == 0
    assert train["coco_areas"] == {"small": 0.0, "medium": 1.0, "large": 0.0}  # 1,200 px
    assert found["anchors"]["count"] == 12804
    assert found["input_size"] == "320 x 320"


def test_the_table(good: Path, launcher: Any) -> None:
    code, out, err = launcher("data", "stats", good)
    assert (code, err) == (0, "")
    assert "20 images in 2 files" in out
    assert "12,804 anchors of 32 to 724 px at 320 x 320 px" in out
    line = next(line for line in out.splitlines() if line.startswith("  128 to 256"))
    assert line.split() == ["128", "to", "256", "20", "100", "%", "5", "100", "%"]
    line = next(line for line in out.splitlines() if " dog " in line)
    assert line.split() == ["2", "dog", "10", "10", "2", "2"]


def test_faults_do_not_stop_it(bad: Path, launcher: Any) -> None:
    code, out, _ = launcher("data", "stats", bad)
    assert code == 0
    assert "7 cannot be used" in out


def test_what_is_damaged_was_looked_at_and_not_decoded(bad: Path, launcher: Any) -> None:
    code, out, _ = launcher("data", "stats", bad, "--json")
    assert code == 0
    train = json.loads(out)["train"]
    assert (train["images"], train["looked_at"], train["decoded"]) == (22, 22, 20)


def test_a_model_without_anchors(good: Path, launcher: Any) -> None:
    code, out, _ = launcher(
        "data", "stats", good, "--set", "recipe=centernet_hourglass104_512", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["anchors"] == {}
    assert found["train"]["unmatched"] is None
    assert found["train"]["sides"]["p50"] == pytest.approx(222, abs=0.5)  # 256 x 192


def test_plots_are_pictures(good: Path, launcher: Any, tmp_path: Path) -> None:
    code, out, _ = launcher("data", "stats", good, "--plots", tmp_path / "plots")
    assert code == 0
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {
        "classes.png", "object-sizes.png", "aspects.png", "objects-per-image.png",
        "image-sizes.png",
    }  # fmt: skip
    for name in names:
        with Image.open(tmp_path / "plots" / name) as image:
            assert len(image.convert("L").getcolors(256) or ()) > 2  # something is drawn
        assert name in out


def test_images_without_objects_have_numbers_too(good: Path, launcher: Any) -> None:
    from tests.audit.conftest import picture

    path = good.parent / "set" / "val.record-00000-of-00001"
    with RecordWriter(path) as writer:
        writer.write(make_example({"image/encoded": picture(1), "image/source_id": "1"}))
    code, out, _ = launcher("data", "stats", good, "--json")
    assert code == 0
    assert json.loads(out)["val"]["empty_images"] == 1


def test_a_file_that_cannot_be_opened_has_its_line(good: Path, launcher: Any) -> None:
    one = good.parent / "set" / "val.record-00000-of-00001"
    one.unlink()
    one.symlink_to("gone")
    code, out, _ = launcher("data", "stats", good)
    assert code == 0
    assert f"  val    is without {one}: cannot read (No such file or directory). Check" in out
    assert "20 images in 2 files" in out
    (unread,) = json.loads(launcher("data", "stats", good, "--json")[1])["unread"]
    assert (unread["split"], unread["file"]) == ("val", str(one))
