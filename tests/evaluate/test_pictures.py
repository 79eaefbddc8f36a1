from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from launcher.errors import StorageError
from launcher.evaluate import pictures
from launcher.evaluate.pictures import Shown
from launcher.evaluate.writers import write_png

GRAY = (90, 90, 90)
NAMES = {1: "square", 2: "circle"}


def gray(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), GRAY)


def test_a_tiny_image_is_enlarged_and_a_large_one_reduced() -> None:
    assert pictures.draw(gray(128, 96), [], [], NAMES).size == (256, 192)
    assert pictures.draw(gray(100, 50), [], [], NAMES).size == (300, 150)
    assert pictures.draw(gray(400, 300), [], [], NAMES).size == (400, 300)
    assert pictures.draw(gray(1920, 960), [], [], NAMES).size == (640, 320)


def test_predictions_have_their_class_colour_and_truth_is_white() -> None:
    drawn = pictures.draw(
        gray(128, 128), [Shown(10, 80, 30, 30, 2)], [Shown(60, 40, 40, 40, 1, 0.9)], NAMES
    )
    assert drawn.getpixel((2 * 10, 2 * 90)) == (255, 255, 255)
    assert drawn.getpixel((2 * 60, 2 * 60)) == pictures.color(1)
    assert drawn.getpixel((2 * 80, 2 * 60)) == GRAY  # inside


def test_the_label_is_above_the_box_and_within_the_image() -> None:
    above = pictures.draw(gray(128, 128), [], [Shown(60, 40, 40, 40, 1, 0.9)], NAMES)
    assert above.getpixel((2 * 60 + 1, 2 * 40 - 4)) == pictures.color(1)
    corner = pictures.draw(gray(128, 128), [], [Shown(120, 0, 8, 8, 1, 0.9)], NAMES)
    assert corner.getpixel((225, 1)) == pictures.color(1)  # moved left, below the edge


def test_weak_predictions_are_left_out() -> None:
    weak = pictures.draw(gray(128, 128), [], [Shown(60, 40, 40, 40, 1, 0.29)], NAMES)
    assert weak.tobytes() == pictures.draw(gray(128, 128), [], [], NAMES).tobytes()


def test_classes_that_follow_each_other_differ_in_colour() -> None:
    colors = [pictures.color(i) for i in range(1, 91)]
    assert len(set(colors)) == 90
    for one, other in pairwise(colors):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_any_picture_mode(mode: str) -> None:
    drawn = pictures.draw(Image.new(mode, (64, 64)), [], [Shown(0, 0, 9, 9, 7, 0.5)], NAMES)
    assert drawn.mode == "RGB"


def test_boxes_that_no_model_should_give_are_drawn_all_the_same() -> None:
    boxes = [Shown(-50, -50, 10, 10, 1, 0.9), Shown(200, 5, -3, 0, 1, 0.9), Shown(5, 5, 0, 0, 1, 1)]
    pictures.draw(gray(64, 64), boxes, boxes, NAMES)


@pytest.mark.parametrize(
    ("count", "size"), [(0, (336, 336)), (1, (336, 336)), (4, (1320, 336)), (8, (1320, 664))]
)
def test_contact_sheet(count: int, size: tuple[int, int]) -> None:
    sheet = pictures.contact_sheet([gray(640, 480)] * count)
    assert sheet.size == size
    if count:
        assert sheet.getpixel((size[0] - 100, size[1] // 2 // (2 if count > 4 else 1))) == GRAY


def test_write_png_is_whole_or_absent(tmp_path: Path) -> None:
    write_png(tmp_path / "report" / "a.png", gray(20, 10))
    with Image.open(tmp_path / "report" / "a.png") as image:
        assert image.size == (20, 10)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write"):
        write_png(tmp_path / "file" / "a.png", gray(20, 10))
    assert [p.name for p in (tmp_path / "report").iterdir()] == ["a.png"]
