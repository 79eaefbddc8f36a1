"""The record of one image with its objects: the fields that the OD API's TfExampleDecoder reads.

The same names as the OD API's own COCO converter writes, and class/label besides, so that the
records can be read without a label map too.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from launcher.records import ImageInfo


class LabelledBox(NamedTuple):
    """One object; sides in parts of the image's (0 to 1), area in pixels of its outline.

    A tuple, because a train set has a million of them.
    """

    label: int
    name: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    area: float
    crowd: bool = False


def detection_features(
    encoded: bytes,
    info: ImageInfo,
    filename: str,
    source_id: str,
    boxes: Sequence[LabelledBox],
) -> dict[str, Any]:
    """Of one image, for `make_example` and `encode_example`."""
    return {
        "image/height": info.height,
        "image/width": info.width,
        "image/filename": filename,
        "image/source_id": source_id,
        "image/key/sha256": hashlib.sha256(encoded).hexdigest(),
        "image/encoded": encoded,
        "image/format": info.format,
        "image/object/bbox/xmin": [box.xmin for box in boxes],
        "image/object/bbox/ymin": [box.ymin for box in boxes],
        "image/object/bbox/xmax": [box.xmax for box in boxes],
        "image/object/bbox/ymax": [box.ymax for box in boxes],
        "image/object/class/text": [box.name for box in boxes],
        "image/object/class/label": [box.label for box in boxes],
        "image/object/is_crowd": [int(box.crowd) for box in boxes],
        "image/object/area": [float(box.area) for box in boxes],
    }
