"""The pages in a real browser: nothing in the console, nothing fetched, no sideways scrolling."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from launcher.report import compare_page, page
from launcher.report.compare import compare
from launcher.storage import append_jsonl
from tests.report import made_run
from tests.report.chromium import Chromium, program

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium (apt-get install chromium)")


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pages")
    long = "a-category-with-quite-a-long-name " * 3
    one = made_run.make(folder / "one", name="a-name-that-is-as-long-as-names-may-be-0123456789")
    two = made_run.make(folder / "two", 20.0, name="two", recipe=long)
    path = "/mnt/a_disk_of_another_machine_with_a_long_name" * 4 + "/train.record-00000-of-00004"
    append_jsonl(one.bad_records(0), {"place": f"{path}: record 7 at byte 35722", "what": "x"})
    append_jsonl(one.eval_metrics, {"step": 150, "error": path})
    append_jsonl(one.events, made_run.event(290, "FAILED", "bad-data", 1, message=path))
    runs = [made_run.record(one, message=long * 4), made_run.record(two)]
    return [
        page.write(runs[0]),
        page.write(runs[1]),
        compare_page.write(compare(runs), folder / "compare.html"),
    ]


@pytest.mark.parametrize("width", [400, 1100])
@pytest.mark.parametrize("dark", [False, True])
def test_it_opens_from_a_file(browser: Chromium, pages: list[Path], width: int, dark: bool) -> None:
    for path in pages:
        seen = browser.look(path, width, dark, whole=False)
        assert seen.complaints == [], path
        assert seen.width <= width, f"{path} scrolls to the side"
        corner = Image.open(io.BytesIO(seen.picture)).convert("L").getpixel((2, 2))
        assert isinstance(corner, int)
        assert corner < 60 if dark else corner > 200


def test_a_faulty_page_is_noticed(browser: Chromium, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<link rel=icon href='data:,'><img src='no.png'><script>nonsense()</script>"
        "<div style='width:900px'>x</div>"
    )
    seen = browser.look(bad, 400)
    assert seen.width == 900 + 8
    told = " ".join(seen.complaints)
    assert "no.png" in told
    assert "nonsense" in told or "Uncaught" in told
