"""The synthetic set: exact boxes, clear objects, the same bytes for the same seed."""

import hashlib
import io
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher.data import ShapesReport, ensure_shapes, make_shapes
from launcher.data.drawing import MAX_OVERLAP, overlap
from launcher.data.shapes import ShapesParameters, draw_image
from launcher.errors import UsageError
from launcher.odapi import label_map
from launcher.records import count_records, expand, locate_damage

Read = Callable[[str | Path], list[Any]]
Field = Callable[[Any, str], list[Any]]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ShapesReport:
    return make_shapes(tmp_path_factory.mktemp("data") / "shapes", train_images=40, val_images=10)


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_files_and_counts(small: ShapesReport, read: Read, field: Field) -> None:
    assert sorted(p.name for p in small.folder.iterdir()) == [
        "label_map.pbtxt",
        "shapes.json",
        *(f"train.record-0000{i}-of-00004" for i in range(4)),
        "val.record-00000-of-00001",
    ]
    assert label_map.read(small.label_map) == {1: "square", 2: "circle", 3: "triangle"}
    assert [count_records(p) for p in expand(small.train)] == [10, 10, 10, 10]
    assert [count_records(p) for p in expand(small.val)] == [10]
    examples = read(small.train) + read(small.val)
    assert len({field(e, "source_id")[0] for e in examples}) == 50
    objects = [len(field(e, "object/class/label")) for e in examples]
    assert sum(objects) == small.train_objects + small.val_objects
    assert set(objects) == {1, 2, 3, 4}
    assert locate_damage(expand([small.train, small.val]), 3) is None


def test_the_default_set_is_made_in_seconds(tmp_path: Path) -> None:
    started = time.process_time()
    report = make_shapes(tmp_path / "shapes")
    seconds = time.process_time() - started
    assert sum(count_records(p) for p in expand(report.train)) == 2000
    assert sum(count_records(p) for p in expand(report.val)) == 200
    assert seconds < 20


def test_the_same_seed_is_the_same_bytes_and_another_is_not(tmp_path: Path) -> None:
    for out, seed in (("a", 5), ("b", 5), ("c", 6)):
        make_shapes(tmp_path / out, train_images=8, val_images=2, seed=seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    same = digests(tmp_path / "a").items() & digests(tmp_path / "c").items()
    assert dict(same).keys() == {"label_map.pbtxt"}


def test_train_and_val_are_different_images() -> None:
    train, val = (draw_image(ShapesParameters(), split, 0)[0] for split in ("train", "val"))
    assert train.tobytes() != val.tobytes()


@pytest.mark.parametrize("background", ["flat", "patchy"])
@pytest.mark.parametrize("size", [32, 128, 320])
def test_boxes_are_tight_around_clear_objects(background: str, size: int) -> None:
    parameters = ShapesParameters(image_size=size, background=background)
    for index in range(30):
        image, objects = draw_image(parameters, "train", index)
        pixels = np.asarray(image).astype(int)
        assert pixels.shape == (size, size, 3)
        for number, one in enumerate(objects):
            xmin, ymin, xmax, ymax = one.box
            assert 0 <= xmin < xmax <= size
            assert 0 <= ymin < ymax <= size
            for side in (xmax - xmin, ymax - ymin):
                assert 0.13 * size <= side <= 0.5 * size
            others = [other.box for n, other in enumerate(objects) if n != number]
            if any(overlap(one.box, other) > 0 for other in others):
                assert all(overlap(one.box, other) <= MAX_OVERLAP for other in others)
                continue
            # The object has one exact colour, the noisy background hardly ever it: its pixels in
            # and around the box must be as many as the area, and touch all four sides.
            colour = pixels[(ymin + ymax) // 2, (xmin + xmax) // 2]
            around = (slice(max(0, ymin - 2), ymax + 2), slice(max(0, xmin - 2), xmax + 2))
            ys, xs = np.nonzero((pixels[around] == colour).all(axis=2))
            ys, xs = ys + around[0].start, xs + around[1].start
            assert len(xs) == one.area
            assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == one.box


def test_areas_are_those_of_the_shapes() -> None:
    filled: dict[int, list[float]] = {1: [], 2: [], 3: []}
    for index in range(200):
        for one in draw_image(ShapesParameters(), "train", index)[1]:
            xmin, ymin, xmax, ymax = one.box
            filled[one.label].append(one.area / ((xmax - xmin) * (ymax - ymin)))
    assert set(filled[1]) == {1.0}
    assert np.mean(filled[2]) == pytest.approx(np.pi / 4, abs=0.02)
    assert np.mean(filled[3]) == pytest.approx(0.5, abs=0.03)


def test_the_record_has_the_drawn_boxes(small: ShapesReport, read: Read, field: Field) -> None:
    parameters = ShapesParameters(train_images=40, val_images=10)
    first = read(small.folder / "train.record-00001-of-00004")[2]  # image 1 + 2 * 4
    image, objects = draw_image(parameters, "train", 9)
    assert field(first, "source_id") == [b"10"]
    assert field(first, "filename") == [b"train-000009.jpg"]
    assert field(first, "object/class/label") == [one.label for one in objects]
    assert field(first, "object/area") == [one.area for one in objects]
    for place, side in enumerate(("xmin", "ymin", "xmax", "ymax")):
        sides = [one.box[place] / 128 for one in objects]
        assert field(first, f"object/bbox/{side}") == sides
    with Image.open(io.BytesIO(field(first, "encoded")[0])) as stored:
        error = np.abs(np.asarray(stored).astype(int) - np.asarray(image).astype(int))
    assert error.mean() < 3


PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"train_images": 3}, "train_images: 3 images do not fill 4 shards. Ask for at least 4"),
    ({"val_images": 0}, "val_images: 0 images do not fill 1 shards. Ask for at least 1"),
    ({"image_size": 16}, "image_size: 16 pixels. Choose 32 to 2048"),
    ({"seed": -1}, "seed: -1 is negative. Choose 0 or more"),
    ({"background": "plaid"}, "background: no background 'plaid'. Choose one of flat, patchy"),
]


@pytest.mark.parametrize(("parameters", "said"), PARAMETERS)
@pytest.mark.parametrize("function", [make_shapes, ensure_shapes])
def test_bad_parameters(
    tmp_path: Path, function: Callable[..., Any], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as e:
        function(tmp_path / "shapes", **parameters)
    assert str(e.value) == said
    assert list(tmp_path.iterdir()) == []


def test_ensure_makes_once(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    first = ensure_shapes(out, train_images=8, val_images=2)
    stamps = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    second = ensure_shapes(out, train_images=8, val_images=2)
    assert (first.made, second.made) == (True, False)
    assert first.train_objects == second.train_objects
    assert {p.name: p.stat().st_mtime_ns for p in out.iterdir()} == stamps


def test_ensure_refuses_another_set_and_a_part_of_one(tmp_path: Path) -> None:
    out = tmp_path / "shapes"
    ensure_shapes(out, train_images=8, val_images=2)
    with pytest.raises(UsageError) as e:
        ensure_shapes(out, train_images=8, val_images=3, seed=4)
    assert str(e.value).startswith(
        f"{out}: holds another shapes set: val_images 2, not 3; seed 0, not 4. Choose another"
    )
    shard = out / "val.record-00000-of-00001"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UsageError, match=r"val.record-00000-of-00001 is missing or has not its"):
        ensure_shapes(out, train_images=8, val_images=2)
    (out / "shapes.json").write_text(json.dumps({"parameters": {"sides": 3}}))
    with pytest.raises(UsageError, match="not written by this version of launcher"):
        ensure_shapes(out, train_images=8, val_images=2)
    assert make_shapes(out, train_images=8, val_images=2, force=True).made
    assert not ensure_shapes(out, train_images=8, val_images=2).made


def test_ensure_does_not_touch_a_folder_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match="holds files of something else"):
        ensure_shapes(tmp_path)


def _ask(out: Path, start: Any, answers: Any) -> None:
    start.wait()
    answers.put(ensure_shapes(out, train_images=200, val_images=4).made)


def test_two_processes_may_ask_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_ask, args=(tmp_path / "shapes", start, answers)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    made = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(made) == [False, False, True]
    assert [p.name for p in tmp_path.iterdir()] == ["shapes"]
    assert sum(count_records(p) for p in (tmp_path / "shapes").glob("train.record*")) == 200
