"""Val records and label maps, written as the launcher's other parts write them."""

import io
from collections.abc import Callable, Sequence
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


FIXED = "fixed_shape_resizer { height: 128 width: 128 }"
SSD = """
model { ssd {
  num_classes: %(classes)d
  image_resizer { %(resizer)s }
  feature_extractor {
    type: "ssd_mobilenet_v2_keras" depth_multiplier: 0.35 min_depth: 16
    override_base_feature_extractor_hyperparams: true
    conv_hyperparams { %(hyperparams)s batch_norm { scale: true decay: 0.97 epsilon: 0.001 } }
  }
  box_coder { faster_rcnn_box_coder {
    y_scale: 10 x_scale: 10 height_scale: 5 width_scale: 5 } }
  matcher { argmax_matcher { matched_threshold: 0.5 unmatched_threshold: 0.5 } }
  similarity_calculator { iou_similarity {} }
  encode_background_as_zeros: true
  anchor_generator { ssd_anchor_generator {
    num_layers: 6 min_scale: 0.2 max_scale: 0.95 aspect_ratios: [1, 2, 0.5] } }
  box_predictor { convolutional_box_predictor {
    kernel_size: 1 box_code_size: 4 conv_hyperparams { %(hyperparams)s } } }
  loss {
    classification_loss { weighted_sigmoid_focal { alpha: 0.75 gamma: 2 } }
    localization_loss { weighted_smooth_l1 {} }
    classification_weight: 1 localization_weight: 1
  }
  normalize_loss_by_num_matches: true
  post_processing {
    batch_non_max_suppression { score_threshold: 1e-8 iou_threshold: 0.6
      max_detections_per_class: 100 max_total_detections: 100 }
    score_converter: SIGMOID
  }
} }
train_config { batch_size: 4 }
eval_config { batch_size: 1 }
eval_input_reader {
  label_map_path: "%(label_map)s"
  tf_record_input_reader { input_path: "%(records)s" }
}
"""
HYPERPARAMS = (
    "activation: RELU_6 regularizer { l2_regularizer { weight: 4e-5 } }"
    " initializer { truncated_normal_initializer { stddev: 0.03 } }"
)


@pytest.fixture(scope="session")
def ssd() -> Callable[..., str]:
    """Text of a pipeline.config of a small SSD that is scored on the val records of `folder`."""

    def text(folder: Path | None = None, classes: int = 3, resizer: str = FIXED) -> str:
        return SSD % {
            "classes": classes,
            "resizer": resizer,
            "hyperparams": HYPERPARAMS,
            "label_map": folder and folder / "label_map.pbtxt",
            "records": folder and folder / "*.record-*",
        }

    return text
