"""`data view`: which records are shown, what is drawn, and that the worker's own input draws it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from launcher import api, audit
from launcher.audit.choosing import choose, flagged
from launcher.audit.sheets import TILE, Box, Row, draw_boxes, page, sheet
from launcher.audit.view import View, view
from launcher.backends.views import draw as real_draw
from launcher.preflight.reading import DataRead
from launcher.records import Example, RecordWriter, make_example, read_records, values


@pytest.fixture
def varied(good: Path) -> Path:
    """Train records of which one is the most crowded, one has the smallest object, one only
    objects that no anchor fits."""
    from tests.audit.conftest import record

    whole = (0.1, 0.1, 0.9, 0.9)
    records = [
        record(30, *[whole] * 9),
        record(31, whole, (0.5, 0.5, 0.51, 0.51)),
        record(32, *[(0.4, 0.4, 0.45, 0.45)] * 2),
        *(record(i) for i in range(40, 48)),
    ]
    path = good.parent / "set" / "train.record-00000-of-00002"
    with RecordWriter(path) as writer:
        for one in records:
            writer.write(make_example(one))
    return good


def read_of(spec: Path) -> tuple[Any, DataRead]:
    return audit.read(api.load(spec), sample=2000, full=True)


def test_the_worst_come_first(varied: Path) -> None:
    plan, read = read_of(varied)
    found = [(one.section, one.source_id) for one in choose(plan, read, read.train, 1)]
    assert found[:3] == [("smallest", "31"), ("crowded", "30"), ("unmatched", "32")]
    assert found[3][0] == "ordinary"
    assert len({source for _, source in found}) == 4  # each once
    reasons = [one.why for one in choose(plan, read, read.train, 1)]
    assert reasons[0] == "an object of 3.2 px"
    assert reasons[1] == "9 objects"
    assert reasons[2] == "2 of 2 without an anchor"


def test_faulty_records_are_shown_by_themselves(bad: Path) -> None:
    """Training would stop at them, so its input cannot draw them."""
    plan, read = read_of(bad)
    shown = {fault.source_id for fault, _ in flagged(read.train, 20)}
    assert {"10", "11", "13", "14", "15"} <= shown
    assert not shown & {one.source_id for one in choose(plan, read, read.train, 20)}


def stand_in(
    pipeline: Path, out: Path, *, draws: int, seed: int, done: Callable[..., None]
) -> None:
    """In place of the worker's input, for what does not depend on it: pictures as they are."""
    import io

    rows = []
    for i, one in enumerate(read_records(out / "chosen.record")):
        example = Example.FromString(one.data)
        sides = [
            values(example, f"image/object/bbox/{s}") for s in ("ymin", "xmin", "ymax", "xmax")
        ]
        for number in range(1 + draws):
            Image.open(io.BytesIO(values(example, "image/encoded")[0])).resize((320, 320)).save(
                out / f"{i}-{number}.png"
            )
            rows.append(
                {
                    "image": i,
                    "draw": number,
                    "file": f"{i}-{number}.png",
                    "boxes": list(zip(*sides, strict=True)),
                    "labels": list(values(example, "image/object/class/label")),
                }
            )
    (out / "boxes.json").write_text(json.dumps(rows))
    done(len(rows))


def made(spec: Path, out: Path, **options: Any) -> View:
    plan, read = read_of(spec)
    return view(plan, read, read.train, out, images=3, draws=1, draw=stand_in, **options)


def test_one_page_and_a_sheet_a_section(bad: Path, tmp_path: Path) -> None:
    found = made(bad, tmp_path / "view")
    assert {path.name for path in found.sheets} == {"flagged.png", "smallest.png", "ordinary.png"}
    text = found.page.read_text()
    assert "https://" not in text.replace("http://www.w3.org", "")
    assert text.count("<figure>") == found.records
    assert "Flagged by check, as they are stored (3)" in text
    pictures = re.findall(r'src="data:image/jpeg;base64,', text)
    assert len(pictures) >= 2 * (found.records - 3)
    for path in found.sheets:
        with Image.open(path) as image:
            assert image.width >= TILE


def test_what_an_id_may_hold_is_no_html(good: Path, tmp_path: Path) -> None:
    row = Row("<script>alert(1)</script>", "a&b", [Image.new("RGB", (9, 9))], ['"x"'])
    page(tmp_path / "p.html", "t<i>", "lead", {"A & B": [row]})
    text = (tmp_path / "p.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "A &amp; B" in text


def test_a_box_is_where_it_says() -> None:
    """In its class's colour, the pixels inside as they were."""
    paper = Image.new("RGB", (TILE, TILE), "white")
    drawn = np.asarray(draw_boxes(paper, [Box((0.25, 0.5, 0.75, 1.0), "x", 1)]))
    assert (drawn[TILE // 4, TILE // 2 + 40 : TILE - 4] != 255).any(axis=1).all()  # the upper side
    assert (drawn[: TILE // 4 - 20] == 255).all()
    assert (drawn[TILE // 2, TILE // 2 + 5 : TILE - 5] == 255).all()


def test_an_unmatched_box_is_marked() -> None:
    paper = Image.new("RGB", (TILE, TILE), "white")
    box = (0.2, 0.2, 0.8, 0.8)
    one, other = (draw_boxes(paper, [Box(box, "x", 1, fits)]) for fits in (True, False))
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("box", [(0.9, 0.9, 0.1, 0.1), (-3.0, 0, 50.0, 1), (0.5, 0.5, 0.5, 0.5)])
def test_any_box_can_be_drawn(box: tuple[float, ...]) -> None:
    draw_boxes(Image.new("RGB", (30, 20)), [Box(box, "x", 90)])


def test_sheets_of_rows_of_any_length() -> None:
    rows = [Row("a", "b"), Row("c", "d", [Image.new("RGB", (20, 10))] * 3, ["x"] * 3)]
    assert sheet(rows).width > 3 * 20


def test_it_does_not_write_over_something_else(good: Path, launcher: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    code, _, err = launcher("data", "view", good, "-o", tmp_path / "mine", "--force")
    assert code == 2
    assert "thesis.tex" in err
    assert (tmp_path / "mine" / "thesis.tex").exists()


@pytest.mark.tensorflow
def test_the_workers_own_input_draws(varied: Path, tmp_path: Path) -> None:
    """Resized as the pipeline says, with the record's boxes; and once more as it is augmented."""
    rows = []

    def keep(pipeline: Path, out: Path, **options: Any) -> None:
        real_draw(pipeline, out, **options)
        rows.append(json.loads((out / "boxes.json").read_text()))
        with Image.open(out / "0-0.png") as image:
            assert image.size == (320, 320)
            first = np.asarray(image)
        with Image.open(out / "0-1.png") as image:
            assert (np.asarray(image) != first).any()

    plan, read = read_of(varied)
    view(plan, read, read.train, tmp_path / "view", images=1, draws=1, draw=keep)
    plain = [row for row in rows[0] if row["draw"] == 0]
    assert len(plain) == 4
    np.testing.assert_allclose(plain[1]["boxes"], [[0.1, 0.1, 0.9, 0.9]] * 9, atol=1e-4)
    assert plain[1]["labels"] == [1] * 9
    assert (tmp_path / "view" / "index.html").stat().st_size > 10_000
