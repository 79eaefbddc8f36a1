"""Which val images are the best and the worst, and what is kept of them."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.evaluate.examples import choose, quality, rank, to_json
from launcher.evaluate.ground_truth import Box, ValImage


def box(category: int, *sides: float, crowd: bool = False) -> Box:
    x, y, width, height = sides
    return Box(category, x, y, width, height, width * height, crowd)


def image(number: int, *boxes: Box) -> ValImage:
    return ValImage(number, f"id-{number}", 100, 50, boxes, Path("val"), number)


def found(number: int, category: int, score: float, *bbox: float) -> dict[str, Any]:
    return {"image_id": number, "category_id": category, "bbox": list(bbox), "score": score}


SQUARE = box(1, 0, 0, 10, 10)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([found(1, 1, 0.9, 0, 0, 10, 10)], 1.0),
        ([found(1, 1, 0.9, 0, 0, 10, 8)], 0.8),
        ([found(1, 1, 0.9, 0, 0, 10, 4)], 0.0),  # an IoU of 0.4 is no match
        ([found(1, 2, 0.9, 0, 0, 10, 10)], 0.0),  # the wrong class
        ([], 0.0),
        ([found(1, 1, 0.9, 0, 0, 10, 10), found(1, 1, 0.8, 0, 0, 10, 10)], 1 / 1.5),  # twice
        ([found(1, 1, 0.9, 0, 0, 10, 10), found(1, 1, 0.8, 50, 0, 10, 10)], 1 / 1.5),
    ],
)
def test_quality_of_one_object(results: list[dict[str, Any]], expected: float) -> None:
    assert quality([SQUARE], results) == pytest.approx(expected)


def test_a_missed_object_counts_half_and_a_crowd_not_at_all() -> None:
    other = box(1, 50, 0, 10, 10)
    assert quality([SQUARE, other], [found(1, 1, 0.9, 0, 0, 10, 10)]) == pytest.approx(1 / 1.5)
    crowd = box(1, 40, 0, 60, 50, crowd=True)
    inside = found(1, 1, 0.8, 50, 10, 10, 10)
    assert quality([SQUARE, crowd], [found(1, 1, 0.9, 0, 0, 10, 10), inside]) == 1.0
    assert quality([crowd], []) == 1.0


def test_ranks_from_worst_to_best_and_leaves_out_what_shows_nothing() -> None:
    images = [
        image(1, SQUARE),
        image(2, SQUARE, box(1, 50, 0, 10, 10)),
        image(3, SQUARE),
        image(4),
        image(5),
    ]
    results = [
        found(1, 1, 0.9, 0, 0, 10, 10),
        found(5, 1, 0.9, 0, 0, 10, 10),
        found(3, 1, 0.2, 0, 0, 10, 10),  # too weak to be shown
    ]
    ranked = rank(images, results)
    assert [r.image.id for r in ranked] == [2, 3, 5, 1]
    assert [r.quality for r in ranked] == [0, 0, 0, 1]


@pytest.mark.parametrize(("count", "best", "worst"), [(0, 0, 0), (1, 0, 1), (3, 1, 2), (20, 4, 4)])
def test_no_image_is_both_best_and_worst(count: int, best: int, worst: int) -> None:
    images = [image(i, SQUARE) for i in range(1, count + 1)]
    results = [found(i, 1, 0.9, 0, 0, 10, 10 - i / 5) for i in range(1, count + 1)]
    chosen = choose(rank(images, results))
    assert (len(chosen["best"]), len(chosen["worst"])) == (best, worst)
    ids = [r.image.id for each in chosen.values() for r in each]
    assert len(set(ids)) == len(ids)
    if count == 20:
        assert [r.image.id for r in chosen["best"]] == [1, 2, 3, 4]
        assert [r.image.id for r in chosen["worst"]] == [20, 19, 18, 17]


def test_what_is_kept_of_an_image() -> None:
    pixels = io.BytesIO()
    Image.new("RGBA", (960, 480), "red").save(pixels, "PNG")
    one = image(1, SQUARE, box(2, 0, 0, 5, 5, crowd=True))
    chosen = choose(rank([one], [found(1, 1, 0.91234, 1.04, 0, 10, 10)]))
    told = to_json(7, chosen, {1: pixels.getvalue()}, {1: "dog"})
    (kept,) = told["images"]
    assert (told["step"], kept["kind"], kept["source_id"]) == (7, "worst", "id-1")
    assert kept["truth"] == [[0, 0, 10, 10, "dog", None], [0, 0, 5, 5, "2 (crowd)", None]]
    assert kept["found"] == [[1.0, 0, 10, 10, "dog", 0.912]]
    picture = Image.open(io.BytesIO(base64.b64decode(kept["jpeg"])))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (480, 240), "RGB")
