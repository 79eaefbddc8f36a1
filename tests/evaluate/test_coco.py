"""COCO numbers against cases whose AP is known by hand, and against pycocotools on JSON files."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher.contract import COCO_NUMBERS
from launcher.evaluate import coco

NAMES = ("a", "b", "c")


def dataset(*images: list[dict[str, Any]]) -> dict[str, Any]:
    """Ground truth of images 1, 2, ..., each a list of boxes."""
    boxes = [{**b, "image_id": i} for i, image in enumerate(images, start=1) for b in image]
    return {
        "images": [{"id": i, "width": 640, "height": 480} for i, _ in enumerate(images, start=1)],
        "annotations": [{**b, "id": i} for i, b in enumerate(boxes, start=1)],
        "categories": [{"id": i, "name": n} for i, n in enumerate(NAMES, start=1)],
    }


def truth(category: int, *bbox: float, crowd: bool = False) -> dict[str, Any]:
    area = bbox[2] * bbox[3]
    return {"category_id": category, "bbox": list(bbox), "area": area, "iscrowd": int(crowd)}


def found(image: int, category: int, score: float, *bbox: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "score": score, "bbox": list(bbox)}


def test_perfect_detections() -> None:
    truths = dataset([truth(1, 10, 10, 20, 20)], [truth(2, 10, 10, 200, 200)])
    scores = coco.score(
        truths, [found(1, 1, 0.9, 10, 10, 20, 20), found(2, 2, 0.9, 10, 10, 200, 200)]
    )
    assert tuple(scores.numbers) == COCO_NUMBERS
    assert scores.numbers["mAP"] == pytest.approx(1.0)
    assert scores.numbers["APs"] == pytest.approx(1.0)
    assert scores.numbers["APm"] == -1.0  # no box of this size
    assert scores.numbers["AR1"] == pytest.approx(1.0)
    assert scores.per_category == {"a": pytest.approx(1.0), "b": pytest.approx(1.0), "c": None}


def test_a_missed_image_counts() -> None:
    box = (10, 10, 20, 20)
    truths = dataset([truth(1, *box)], [truth(1, *box)])
    scores = coco.score(truths, [found(1, 1, 0.9, *box)])
    # precision is 1 up to recall 0.5: 51 of the 101 recall points
    assert scores.numbers["AP50"] == pytest.approx(51 / 101)
    assert scores.numbers["AR100"] == pytest.approx(0.5)


def test_overlap_of_60_percent_is_right_at_three_of_ten_thresholds() -> None:
    truths = dataset([truth(1, 0, 0, 100, 100)])
    scores = coco.score(truths, [found(1, 1, 0.9, 0, 0, 100, 62)])
    assert scores.numbers["mAP"] == pytest.approx(0.3)
    assert (scores.numbers["AP50"], scores.numbers["AP75"]) == pytest.approx((1.0, 0.0))


def test_a_false_positive_above_a_true_one_halves_the_precision() -> None:
    truths = dataset([truth(1, 0, 0, 50, 50)], [])
    right, wrong = found(1, 1, 0.5, 0, 0, 50, 50), found(2, 1, 0.9, 0, 0, 50, 50)
    assert coco.score(truths, [right, wrong]).numbers["mAP"] == pytest.approx(0.5)


def test_detections_on_a_crowd_are_neither_right_nor_wrong() -> None:
    crowd = truth(1, 100, 100, 200, 200, crowd=True)
    inside = [found(1, 1, 0.9, 110 + 30 * i, 110, 25, 25) for i in range(3)]
    right = found(1, 1, 0.5, 0, 0, 50, 50)
    for annotations in ([truth(1, 0, 0, 50, 50), crowd], [crowd, truth(1, 0, 0, 50, 50)]):
        assert coco.score(dataset(annotations), [*inside, right]).numbers["mAP"] == pytest.approx(
            1.0
        )
    plain = dataset([truth(1, 0, 0, 50, 50), truth(1, 100, 100, 200, 200)])
    assert coco.score(plain, [*inside, right]).numbers["mAP"] < 0.5


def test_no_detections_at_all_are_zero() -> None:
    scores = coco.score(dataset([truth(1, 0, 0, 50, 50)]), [])
    assert scores.numbers["mAP"] == 0.0
    assert scores.per_category == {"a": 0.0, "b": None, "c": None}


def test_names_given_twice_keep_their_numbers() -> None:
    truths = dataset([truth(1, 0, 0, 50, 50)])
    truths["categories"][1]["name"] = "a"
    assert coco.score(truths, []).per_category == {"a (1)": 0.0, "a (2)": None, "c": None}


def test_equal_to_pycocotools_on_json_files(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    truths, results = random_case(random.Random(3))
    scores = coco.score(truths, results)
    coco.score_fast(truths, results)
    assert capfd.readouterr().out == ""  # their reports would be in the log of every run

    (tmp_path / "truth.json").write_text(json.dumps(truths))
    (tmp_path / "results.json").write_text(json.dumps(results))
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    api = COCO(str(tmp_path / "truth.json"))
    by_hand = COCOeval(api, api.loadRes(str(tmp_path / "results.json")), "bbox")
    by_hand.evaluate()
    by_hand.accumulate()
    by_hand.summarize()
    assert list(scores.numbers.values()) == list(by_hand.stats)
    assert 0.05 < scores.numbers["mAP"] < 0.95


def random_case(rng: random.Random) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """40 images of boxes in all three sizes, crowds, misses, near hits and false positives."""
    images, results = [], []
    for number in range(1, 41):
        boxes = []
        for _ in range(rng.randrange(6)):
            side = rng.choice([16, 60, 200])
            place = (rng.uniform(0, 400), rng.uniform(0, 200), side, side * rng.uniform(0.5, 1))
            category = rng.randint(1, 2)
            boxes.append(truth(category, *place, crowd=rng.random() < 0.1))
            if rng.random() < 0.8:
                moved = [v + rng.gauss(0, side / 20) for v in place]
                results.append(found(number, category, rng.random(), *moved))
        for _ in range(rng.randrange(4)):
            results.append(found(number, rng.randint(1, 3), rng.random() / 2, 5, 5, 90, 90))
        images.append(boxes)
    return dataset(*images), results


# Sides at COCO's borders of small, medium and large (32 and 96 pixels); scores and places with
# ties, where the order of equal ones decides.
SIDES = st.sampled_from([0.5, 31.0, 32.0, 33.0, 95.9, 96.0, 97.0, 250.0])
PLACES = st.sampled_from([0.0, 4.0, 8.0, 100.0])
BOXES = st.tuples(st.integers(1, 4), PLACES, PLACES, SIDES, SIDES)
SCORES = st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0])
AREAS = st.sampled_from([None, 1024.0, 1024.0001, 9216.0, 1e-3])


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Images without boxes or without detections, crowds, categories without either, ties, and
    more than the 100 detections that count.
    """
    ids = draw(st.lists(st.integers(0, 10**18 - 1), min_size=1, max_size=5, unique=True))
    annotations, detections = [], []
    for image in ids:
        for box in draw(st.lists(BOXES, max_size=5)):
            truth_box = truth(box[0], *box[1:], crowd=draw(st.integers(0, 4)) == 0)
            truth_box["area"] = draw(AREAS) or truth_box["area"]
            annotations.append({**truth_box, "image_id": image})
        boxes = draw(st.lists(st.tuples(BOXES, SCORES), max_size=8))
        for (category, *box), confidence in boxes * draw(st.sampled_from([1, 1, 1, 30])):
            detections.append(found(image, category, confidence, *box))
    return {
        "images": [{"id": i, "width": 640, "height": 480} for i in ids],
        "annotations": [{**a, "id": i} for i, a in enumerate(annotations, start=1)],
        "categories": [{"id": i, "name": n} for i, n in ((1, "a"), (2, "b"), (4, "d"))],
    }, detections


@settings(max_examples=150, deadline=None)
@given(cases())
@example((dataset([], []), []))
@example(random_case(random.Random(5)))
def test_the_fast_engine_gives_pycocotools_numbers(
    case: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    truths, results = case
    # Category 3 is among the detections only, and no annotation may name an unknown one.
    known = {c["id"] for c in truths["categories"]}
    truths["annotations"] = [a for a in truths["annotations"] if a["category_id"] in known]
    fast = coco.score_fast(truths, results)  # first: pycocotools marks what it is given
    certified = coco.score(truths, results)
    assert (fast.engine, certified.engine) == ("hotcoco", "pycocotools")
    assert fast.numbers == pytest.approx(certified.numbers, rel=0, abs=coco.EQUAL)
    assert coco.difference(fast, certified) <= coco.EQUAL


def test_difference_of_scores() -> None:
    truths = dataset([truth(1, 0, 0, 100, 100)])
    half = coco.score(truths, [found(1, 1, 0.9, 0, 0, 100, 62)])
    none = coco.score(truths, [])
    assert coco.difference(half, half) == 0.0
    assert coco.difference(half, none) == pytest.approx(1.0)  # AP50, and not the mAP's 0.3
    assert coco.difference(half, coco.score(dataset([truth(2, 0, 0, 9, 9)]), [])) == float("inf")
