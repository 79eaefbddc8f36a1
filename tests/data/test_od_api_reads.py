"""The OD API's own decoder reads what we wrote: the peer that training uses."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.data import convert, make_shapes
from launcher.data.coco import load
from launcher.data.shapes import ShapesParameters, draw_image
from launcher.records import expand

pytestmark = pytest.mark.tensorflow


def decoded(files: list[Path], label_map: Path) -> dict[str, dict[str, Any]]:
    """Source id to what TfExampleDecoder gives, as numpy."""
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf
    from object_detection.data_decoders.tf_example_decoder import TfExampleDecoder

    decoder = TfExampleDecoder(label_map_proto_file=str(label_map))
    dataset = tf.data.TFRecordDataset([str(f) for f in files]).map(decoder.decode)
    found = list(dataset.as_numpy_iterator())
    by_id = {tensors["source_id"].decode(): tensors for tensors in found}
    assert len(by_id) == len(found)
    return by_id


def test_real_coco(shared: Path, tmp_path: Path) -> None:
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf

    tiny = shared / "coco_tiny"
    for split, objects, crowds in (("train", 705, 6), ("val", 815, 11)):
        annotations = tiny / "annotations" / f"instances_{split}2017.json"
        report = convert(annotations, tiny / f"{split}2017", tmp_path / split, split, 4)
        found = decoded(list(report.files), report.label_map)
        wanted = {image.source_id: image for image in load(annotations).images}
        assert found.keys() == wanted.keys()
        assert sum(len(t["groundtruth_classes"]) for t in found.values()) == objects
        assert sum(int(t["groundtruth_is_crowd"].sum()) for t in found.values()) == crowds
        for id_, image in wanted.items():
            tensors = found[id_]
            boxes = [[b.ymin, b.xmin, b.ymax, b.xmax] for b in image.boxes]
            np.testing.assert_allclose(tensors["groundtruth_boxes"], boxes, atol=1e-6)
            assert tensors["groundtruth_classes"].tolist() == [b.label for b in image.boxes]
            assert tensors["groundtruth_is_crowd"].tolist() == [b.crowd for b in image.boxes]
            areas = [b.area for b in image.boxes]
            np.testing.assert_allclose(tensors["groundtruth_area"], areas, rtol=1e-6)
            assert tensors["image"].shape == (image.height, image.width, 3)
            assert tensors["filename"].decode() == image.file_name
            pixels = tf.io.decode_image((tiny / f"{split}2017" / image.file_name).read_bytes())
            np.testing.assert_array_equal(tensors["image"], pixels)


def test_shapes(tmp_path: Path) -> None:
    report = make_shapes(tmp_path / "shapes", train_images=8, val_images=2)
    found = decoded(expand([report.train, report.val]), report.label_map)
    assert len(found) == 10
    image, objects = draw_image(ShapesParameters(train_images=8, val_images=2), "val", 0)
    tensors = found["9"]
    assert tensors["groundtruth_classes"].tolist() == [one.label for one in objects]
    boxes = [[b[1], b[0], b[3], b[2]] for b in (one.box for one in objects)]
    np.testing.assert_allclose(tensors["groundtruth_boxes"] * 128, boxes, atol=1e-4)
    assert np.abs(tensors["image"].astype(int) - np.asarray(image).astype(int)).mean() < 3


def test_an_image_without_objects(coco: Any) -> None:
    coco.content["annotations"] = []
    coco.save()
    report = convert(coco.annotations, coco.images, coco.out, "train", 1, processes=1)
    found = decoded(list(report.files), report.label_map)
    assert len(found) == 5
    for tensors in found.values():
        assert tensors["groundtruth_boxes"].shape == (0, 4)
        assert tensors["groundtruth_classes"].shape == (0,)
