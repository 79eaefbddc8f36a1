"""The JSON of a COCO instances file, without the outlines."""

import gc
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.errors import DataError
from launcher.records import read_error

WHICH_FILE = "Give an instances file, as instances_train2017.json"

_OUTLINE = re.compile(rb'"segmentation"\s*:\s*\[[\[\]0-9.,\s+\-eE]*\]')
"""An outline of polygons. Not within a text of JSON, whose quotation marks would be escaped."""


def _parse(content: bytes) -> Any:
    """Without the outlines: two thirds of COCO's file and of the time to parse it, and gigabytes
    of memory as objects. By pydantic's parser, which needs half of the time of json's."""
    from pydantic_core import from_json

    try:
        return from_json(_OUTLINE.sub(b'"segmentation":0', content), cache_strings="keys")
    except ValueError:
        return json.loads(content)  # names the place in the file, or reads what the other refuses


def read_json(path: Path) -> dict[str, Any]:
    """An object with the lists images, annotations and categories. Raises DataError."""
    try:
        content: dict[str, Any] = _parse(path.read_bytes())
    except OSError as e:
        raise read_error(e, path) from e
    except json.JSONDecodeError as e:
        place = f"{path}:{e.lineno}:{e.colno}"
        raise DataError(f"not JSON ({e.msg})", place=place, remedy=WHICH_FILE) from None
    except (ValueError, RecursionError) as e:
        raise DataError(f"not JSON ({e})", place=str(path), remedy=WHICH_FILE) from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            what = f'not a COCO instances file: it has no list "{key}"'
            raise DataError(what, place=str(path), remedy=WHICH_FILE)
        if key != "annotations" and not content[key]:
            raise DataError(f'"{key}" is empty', place=str(path), remedy=WHICH_FILE)
    return content


@contextmanager
def no_garbage() -> Iterator[None]:
    """The garbage collector would go through millions of new objects again and again, in half of
    the time, and there are no cycles among them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
