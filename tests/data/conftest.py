"""A small COCO set on disk, real and drawn, to convert and to break."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.records import Example, expand, read_records, values


class Coco:
    """An annotations file and its images, 100 x 50 pixels; `content` may be changed and saved."""

    def __init__(self, folder: Path, images: int) -> None:
        self.folder = folder
        self.annotations = folder / "instances.json"
        self.images = folder / "images"
        self.out = folder / "out"
        self.images.mkdir(parents=True)
        self.content: dict[str, Any] = {
            "images": [
                {"id": i, "file_name": f"{i}.jpg", "width": 100, "height": 50}
                for i in range(1, images + 1)
            ],
            "annotations": [],
            "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
        }
        for entry in self.content["images"]:
            self.picture(entry["file_name"])
            self.add([10, 5, 30, 20], image_id=entry["id"])
        self.save()

    def picture(self, name: str, size: tuple[int, int] = (100, 50)) -> Path:
        Image.linear_gradient("L").resize(size).convert("RGB").save(self.images / name)
        return self.images / name

    def add(self, bbox: Any, **more: Any) -> int:
        """Adds an annotation; its id counts from 1001."""
        id_ = 1001 + len(self.content["annotations"])
        entry = {"id": id_, "image_id": 1, "category_id": 7, "bbox": bbox, "iscrowd": 0}
        self.content["annotations"].append(entry | more)
        self.save()
        return id_

    def save(self) -> None:
        self.annotations.write_text(json.dumps(self.content))

    def left(self) -> list[str]:
        """What lies in the folder beside the input: hidden files too."""
        return sorted(p.name for p in self.folder.iterdir() if p.name not in self._input)

    _input = ("instances.json", "images")


@pytest.fixture
def coco(tmp_path: Path) -> Coco:
    return Coco(tmp_path / "coco", images=5)


@pytest.fixture(scope="session")
def read() -> Callable[[str | Path], list[Any]]:
    """The Examples of the files that a pattern names."""

    def read(pattern: str | Path) -> list[Any]:
        paths = expand(pattern)
        return [Example.FromString(r.data) for path in paths for r in read_records(path)]

    return read


@pytest.fixture(scope="session")
def field() -> Callable[[Any, str], list[Any]]:
    """The values of an Example's feature, its name without "image/"."""
    return lambda example, name: list(values(example, f"image/{name}"))
