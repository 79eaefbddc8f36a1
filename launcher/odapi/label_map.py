"""Label maps (`*.pbtxt`, StringIntLabelMap): class ids and their names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from google.protobuf import text_format

from launcher.errors import DataError
from launcher.odapi.protos import Message, message
from launcher.storage import write_text

BACKGROUND = 0


def read(path: Path) -> dict[int, str]:
    """Id to display name, or to name where there is none; ids from 1, in ascending order.

    Raises DataError when the file is missing, no label map, or ambiguous.
    """
    items = sorted(_items(path), key=lambda item: int(item.id))
    return {item.id: item.display_name or item.name for item in items}


def read_texts(path: Path) -> dict[str, int]:
    """Every text that class/text of a record may have, name or display name, to its id.

    The OD API looks a text up among both and takes the higher id.
    """
    items = _items(path)
    texts: dict[str, int] = {}
    for text, found in [(i.name, i.id) for i in items] + [(i.display_name, i.id) for i in items]:
        if text:
            texts[text] = max(found, texts.get(text, found))
    return texts


def write(path: Path, names: Mapping[int, str]) -> None:
    """Atomically, in the order of ids. Raises DataError for what `read` would refuse."""
    label_map = message("StringIntLabelMap")()
    for id_, name in sorted(names.items()):
        label_map.item.add(id=id_, name=name, display_name=name)
    _check(label_map.item, path)
    write_text(path, text_format.MessageToString(label_map, as_utf8=True))


def _items(path: Path) -> list[Message]:
    """The file's items, checked, without the background."""
    label_map = message("StringIntLabelMap")()
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), label_map)
    except OSError as e:
        raise DataError(
            f"cannot read the label map ({e.strerror or e})",
            place=str(path),
            remedy="Give the label map that the records were converted with",
        ) from e
    except text_format.ParseError as e:
        line, column = e.GetLine(), e.GetColumn()
        place = f"{path}:{line}:{column}" if line is not None else str(path)
        raise DataError(f"not a label map ({e})", place=place, remedy=_FORM) from None
    except (ValueError, RecursionError) as e:  # not UTF-8, or a path with a null byte
        raise DataError(f"not a label map ({e})", place=str(path), remedy=_FORM) from None
    items = [item for item in label_map.item if not _is_background(item)]
    _check(items, path)
    return items


_FORM = 'Write it as item { id: 1 name: "cat" } item { id: 2 name: "dog" }'


def _is_background(item: Message) -> bool:
    """The OD API allows id 0 for an item of this name only, and drops it."""
    return item.id == BACKGROUND and "background" in (item.name, item.display_name)


def _check(items: Iterable[Message], path: Path) -> None:
    items = list(items)
    if not items:
        raise DataError("a label map without a class", place=str(path), remedy=_FORM)
    seen: dict[int, str] = {}
    owners: dict[str, int] = {}
    for item in items:
        name = item.display_name or item.name
        if item.id <= BACKGROUND:
            what = f'id {item.id} of "{name}": ids start at 1, 0 is the background'
            raise DataError(what, place=str(path), remedy="Number the classes from 1")
        if not name:
            raise DataError(f"id {item.id} has no name", place=str(path), remedy="Name the class")
        if item.id in seen:
            what = f'id {item.id} is given to "{seen[item.id]}" and to "{name}"'
            raise DataError(what, place=str(path), remedy="Give every class an id of its own")
        if name in owners:
            what = f'the name "{name}" is given to id {owners[name]} and to id {item.id}'
            raise DataError(what, place=str(path), remedy="Give every class a name of its own")
        seen[item.id], owners[name] = name, item.id
