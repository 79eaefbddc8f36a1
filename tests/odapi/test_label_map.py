"""Label maps: read as the OD API reads them, with the place of what is wrong."""

from pathlib import Path

import pytest

from launcher.errors import DataError
from launcher.odapi import label_map

OLD_STYLE = """
item { name: "/m/01g317" id: 1 display_name: "person" }
item { name: "/m/0199g" id: 2 display_name: "bicycle" }
# COCO has gaps
item { name: "toothbrush" id: 90 }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "label_map.pbtxt"


def test_display_name_before_name(path: Path) -> None:
    path.write_text(OLD_STYLE)
    assert label_map.read(path) == {1: "person", 2: "bicycle", 90: "toothbrush"}
    assert label_map.read_texts(path) == {
        "/m/01g317": 1, "person": 1, "/m/0199g": 2, "bicycle": 2, "toothbrush": 90,
    }  # fmt: skip


def test_what_is_written_is_read_back_in_the_order_of_ids(path: Path) -> None:
    names = {3: 'say "cheese"', 1: "Fußgänger", 90: "back\\slash"}
    label_map.write(path, names)
    assert label_map.read(path) == names
    assert list(label_map.read(path)) == [1, 3, 90]
    assert 'name: "Fußgänger"\n  id: 1\n  display_name: "Fußgänger"' in path.read_text()


def test_the_background_is_no_class(path: Path) -> None:
    path.write_text('item { id: 0 name: "background" } item { id: 1 name: "cat" }')
    assert label_map.read(path) == {1: "cat"}


BAD = [
    ("", "a label map without a class. Write it as item"),
    ("item { id: 1 }", "id 1 has no name. Name the class"),
    ('item { name: "cat" }', 'id 0 of "cat": ids start at 1, 0 is the background. Number'),
    ('item { id: -3 name: "cat" }', 'id -3 of "cat": ids start at 1'),
    ('item { id: 1 name: "cat" } item { id: 1 name: "dog" }', 'id 1 is given to "cat" and to "do'),
    (
        'item { id: 1 name: "cat" } item { id: 2 name: "cat" }',
        'the name "cat" is given to id 1 and',
    ),
    ("cat\ndog\n", "not a label map"),
    ('item { id: one name: "cat" }', "not a label map"),
]


@pytest.mark.parametrize(("text", "said"), BAD)
def test_bad_files(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError) as e:
        label_map.read(path)
    assert str(e.value).startswith(str(path))
    assert said in str(e.value)


def test_a_syntax_error_has_line_and_column(path: Path) -> None:
    path.write_text('item {\n  id: 1\n  nme: "cat"\n}\n')
    with pytest.raises(DataError, match=f"{path}:3:3: not a label map"):
        label_map.read(path)


def test_files_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(DataError, match=r"No such file.*Give the label map"):
        label_map.read(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a label map"):
        label_map.read(path)


def test_nothing_is_written_that_could_not_be_read(path: Path) -> None:
    with pytest.raises(DataError, match='the name "a" is given to id 1 and to id 2'):
        label_map.write(path, {1: "a", 2: "a"})
    assert not path.exists()


@pytest.mark.tensorflow
def test_the_od_api_reads_the_same(path: Path) -> None:
    from launcher.odapi import compat

    compat.load()
    from object_detection.utils import label_map_util

    label_map.write(path, {1: "person", 90: "Zahnbürste"})
    assert label_map_util.get_label_map_dict(str(path)) == {"person": 1, "Zahnbürste": 90}
    path.write_text(OLD_STYLE)
    theirs = label_map_util.get_label_map_dict(str(path), use_display_name=False)
    theirs |= label_map_util.get_label_map_dict(str(path), use_display_name=True)
    theirs.pop("", None)
    assert label_map.read_texts(path) == theirs
