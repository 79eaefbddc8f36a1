"""Val records and label maps, written as the launcher's other parts write them."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from launcher.odapi import label_map
from launcher.records import RecordWriter, make_example

NAMES = {1: "square", 2: "circle", 3: "triangle"}
COLORS = {1: "red", 2: "green", 3: "blue"}
Box = dict[str, Any]


class Val:
    """A folder of val records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names = NAMES
        self.label_map = folder / "label_map.pbtxt"
        label_map.write(self.label_map, NAMES)

    def box(self, category: int, *bbox: float, **more: Any) -> Box:
        """x, y, width, height in pixels; crowd=, area=."""
        return {"category": category, "bbox": list(bbox), **more}

    def picture(self, size: tuple[int, int], boxes: Sequence[Box] = ()) -> bytes:
        """A PNG with a filled rectangle for every box."""
        image = Image.new("RGB", size, "gray")
        pen = ImageDraw.Draw(image)
        for b in boxes:
            x, y, w, h = b["bbox"]
            pen.rectangle((x, y, x + w, y + h), fill=COLORS.get(b["category"], "black"))
        encoded = io.BytesIO()
        image.save(encoded, format="PNG")
        return encoded.getvalue()

    def record(
        self,
        source_id: str,
        boxes: Sequence[Box] = (),
        size: tuple[int, int] = (100, 50),
        **changed: Any,
    ) -> Any:
        """An Example; `changed` replaces features, with __ for / in their names."""
        width, height = size
        sides = [b["bbox"] for b in boxes]
        features: dict[str, Any] = {
            "image/encoded": self.picture(size, boxes),
            "image/source_id": source_id,
            "image/object/bbox/xmin": [float(x / width) for x, y, w, h in sides],
            "image/object/bbox/ymin": [float(y / height) for x, y, w, h in sides],
            "image/object/bbox/xmax": [float((x + w) / width) for x, y, w, h in sides],
            "image/object/bbox/ymax": [float((y + h) / height) for x, y, w, h in sides],
            "image/object/class/label": [b["category"] for b in boxes],
            "image/object/is_crowd": [int(b.get("crowd", False)) for b in boxes],
            "image/object/area": [float(b.get("area", b["bbox"][2] * b["bbox"][3])) for b in boxes],
        }
        features.update({name.replace("__", "/"): v for name, v in changed.items()})
        return make_example(features)

    def write(self, *examples: Any, name: str = "val.record-00000-of-00001") -> Path:
        with RecordWriter(self.folder / name) as writer:
            for example in examples:
                writer.write(example)
        return self.folder / name


@pytest.fixture
def val(tmp_path: Path) -> Val:
    return Val(tmp_path)
