"""The anchors, held equal to the OD API's own; and how they match boxes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.odapi import pipeline as pipelines
from launcher.preflight.anchors import Anchors, Grid, anchors_of
from launcher.preflight.geometry import Resizer, resizer_of

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(512, 512), (300, 300), (640, 1024), (333, 517)]


def models(shared: Path) -> Iterator[tuple[str, Any]]:
    """One of each kind of generator and of feature extractor, and our own ones."""
    for name in (
        "ssd_efficientdet_d3_896x896_coco17_tpu-32",
        "ssd_mobilenet_v2_320x320_coco17_tpu-8",
        "ssd_resnet50_v1_fpn_640x640_coco17_tpu-8",
        "faster_rcnn_resnet50_v1_800x1333_coco17_gpu-8",
        "faster_rcnn_resnet50_v1_fpn_640x640_coco17_tpu-8",
    ):
        yield name, pipelines.read(shared / "zoo" / f"{name}.config").model
    yield "demo", pipelines.read(ROOT / "configs" / "demo.config").model


def all_of(anchors: Anchors) -> np.ndarray:
    return np.concatenate([grid.boxes() for grid in anchors.grids])


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", SIZES)
def test_they_are_the_od_apis(shared: Path, size: tuple[int, int]) -> None:
    from launcher.odapi import compat

    compat.load()
    from object_detection.builders import anchor_generator_builder

    for name, model in models(shared):
        ours = anchors_of(model, size)
        assert ours is not None
        points = [grid.points for grid in ours.grids]
        if model.WhichOneof("model") == "ssd":
            generator = anchor_generator_builder.build(model.ssd.anchor_generator)
            lists = generator.generate(points, im_height=size[0], im_width=size[1])
        else:
            generator = anchor_generator_builder.build(
                model.faster_rcnn.first_stage_anchor_generator
            )
            lists = generator.generate(points)
        theirs = np.concatenate([one.get().numpy() for one in lists])
        if theirs.max() < 8:  # parts of the image, not pixels
            theirs = theirs * [*size, *size]
        assert len(theirs) == ours.count, name
        np.testing.assert_allclose(all_of(ours), theirs, atol=2e-3, err_msg=name)


@pytest.mark.tensorflow
def test_the_grids_are_those_of_a_built_model() -> None:
    """Its feature maps have as many cells as the grids have points."""
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = pipelines.read(ROOT / "configs" / "demo.config").model
    built = model_builder.build(model, is_training=True)
    resizer = resizer_of(model)
    assert resizer is not None
    assert resizer.canvas is not None
    images = tf.zeros([1, *resizer.canvas, 3])
    built.predict(*built.preprocess(images))
    ours = anchors_of(model, resizer.canvas)
    assert ours is not None
    theirs = built.anchors.get().numpy() * [*resizer.canvas, *resizer.canvas]
    np.testing.assert_allclose(all_of(ours), theirs, atol=2e-3)


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", [(480, 640), (333, 500), (64, 900), (1200, 400)])
def test_resized_sizes_are_the_od_apis(size: tuple[int, int]) -> None:
    from launcher.odapi import compat

    compat.load()
    import tensorflow as tf
    from object_detection.core import preprocessor

    for least, most in ((320, 320), (600, 1024), (800, 1333)):
        _, shape = preprocessor.resize_to_range(tf.zeros([*size, 3]), None, least, most)[:2]
        ours = Resizer(None, least, most).resized(np.array([size[0]]), np.array([size[1]]))
        assert (int(ours[0][0]), int(ours[1][0])) == tuple(shape.numpy()[:2])


def iou(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Every box with every anchor, [boxes, anchors]."""
    low = np.maximum(boxes[:, None, :2], anchors[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], anchors[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)

    def area(b: np.ndarray) -> np.ndarray:
        return (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])

    return common / (area(boxes)[:, None] + area(anchors)[None] - common)


@pytest.mark.parametrize("size", [(320, 320), (256, 333)])
def test_the_nearest_is_the_best(shared: Path, size: tuple[int, int]) -> None:
    """The short way gives what all pairs give."""
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 1, (60, 2, 2)), axis=1)
    boxes = corners.reshape(-1, 4) * [*size, *size]
    boxes[:20, 2:] = boxes[:20, :2] + 5  # small ones
    for name, model in models(shared):
        ours = anchors_of(model, size)
        assert ours is not None
        everything = all_of(ours)
        if ours.inside:
            inside = (everything[:, :2] >= 0).all(axis=1)
            everything = everything[inside & (everything[:, 2:] <= size).all(axis=1)]
        best = iou(boxes, everything).max(axis=1) if len(everything) else np.zeros(len(boxes))
        np.testing.assert_allclose(ours.best_iou(boxes), best, atol=1e-9, err_msg=name)


def test_centernet_has_none(shared: Path) -> None:
    name = "centernet_resnet50_v2_512x512_kpts_coco17_tpu-8"
    model = pipelines.read(shared / "zoo" / f"{name}.config").model
    assert anchors_of(model, (512, 512)) is None


def test_an_anchor_matches_itself() -> None:
    grid = Grid(((32.0, 32.0), (64.0, 32.0)), (16.0, 16.0), (8.0, 8.0), (20, 20))
    anchors = Anchors((grid,), (320, 320), inside=False)
    np.testing.assert_allclose(anchors.best_iou(grid.boxes()), 1)
    assert anchors.smallest == 32
    assert anchors.count == 800


@pytest.mark.parametrize(
    ("resizer", "size", "resized"),
    [
        (Resizer((300, 400)), (480, 640), (300, 400)),
        (Resizer(None, 896, 896, True), (480, 640), (672, 896)),
        (Resizer(None, 800, 1333), (480, 640), (800, 1067)),
        (Resizer(None, 800, 1333), (200, 640), (417, 1333)),
    ],
)
def test_resizing(resizer: Resizer, size: tuple[int, int], resized: tuple[int, int]) -> None:
    height, width = resizer.resized(np.array([size[0]]), np.array([size[1]]))
    assert (int(height[0]), int(width[0])) == resized
