"""The same images in both modes: against the OD API's own training mode, and without a trace."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.odapi import compat, pipeline
from launcher.worker_config import WorkerConfig

IMAGES = 4


@pytest.fixture
def tensorflow() -> Iterator[Any]:
    compat.load()
    import tensorflow as tf

    yield tf
    tf.keras.backend.clear_session()  # the learning phase is one for the whole process


@pytest.mark.tensorflow
def test_losses_are_those_of_both_modes(
    tensorflow: Any, val: Any, ssd: Callable[..., str], tmp_path: Path
) -> None:
    from launcher.evaluate import ground_truth
    from launcher.evaluate.both_modes import BothModes
    from launcher.evaluate.detector import Detector

    # Of two heights, so that one is padded; a crowd is no object to be learned.
    padded = "keep_aspect_ratio_resizer { min_dimension: 128 max_dimension: 128 "
    text = ssd(val.folder, resizer=padded + "pad_to_max_dimension: true }")
    text = text.replace("kernel_size: 1", "use_dropout: false kernel_size: 1")  # it is random
    boxes = [val.box(1, 10, 10, 60, 30), val.box(2, 40, 5, 30, 40), val.box(1, 0, 0, 9, 9, crowd=1)]
    sizes = [(128, 128), (128, 64), (128, 96), (128, 128)]
    file = val.write(*(val.record(str(i), boxes[: i % 4], size) for i, size in enumerate(sizes, 1)))
    message = pipeline.parse(text, "test")
    labels = ground_truth.Labels.read(val.label_map)
    truth = ground_truth.read([str(file)], labels, 3, IMAGES)
    model, prefix = trained(tensorflow, message, tmp_path)
    detector = Detector(message, [file], 2, 1)
    detector.restore(prefix)
    before = [v.numpy() for v in detector.model.variables]

    both = BothModes(detector, truth.images, over=IMAGES)
    found = both.measure()
    assert found is not None
    assert (found.images, found.moments_over) == (IMAGES, IMAGES)
    assert all(
        np.array_equal(a, v.numpy()) for a, v in zip(before, detector.model.variables, strict=True)
    )

    batch = both._batch()
    _, true_shapes, real, _, weights = batch
    assert weights.numpy().sum(axis=1).tolist() == [1, 2, 2, 0]
    # Image 2 is 64 of 128 px high: its boxes keep their pixels, in parts of the padded picture.
    assert true_shapes.numpy()[1].tolist() == [64, 128, 3]
    assert real.numpy()[1, 0] * 128 == pytest.approx([10, 10, 40, 70], abs=1e-3)
    expected = {mode: own_loss(tensorflow, model, batch, mode) for mode in (False, True)}
    assert found.inference == pytest.approx(expected[False], rel=1e-4)
    assert found.training == pytest.approx(expected[True], rel=1e-3)
    assert abs(found.training - found.inference) > 0.01 * found.inference

    assert BothModes(detector, truth.images, over=8).measure() is None  # 4 val images are too few


def trained(tf: Any, message: Any, folder: Path) -> tuple[Any, Path]:
    """A model in training mode whose statistics are not those of the images, and its checkpoint."""
    from object_detection.builders import model_builder

    model = model_builder.build(message.model, is_training=True)
    model.predict(tf.zeros([1, 128, 128, 3]), tf.constant([[128, 128, 3]]))
    random = np.random.default_rng(0)
    for variable in model.variables:
        if "moving_" in variable.name:
            variable.assign(np.abs(random.normal(1, 0.2, variable.shape)))
    saved = tf.train.Checkpoint(model=model).save(str(folder / "ckpt"))
    return model, Path(saved)


def own_loss(tf: Any, model: Any, batch: Any, training: bool) -> float:
    """As a worker and the OD API's evaluation compute it."""
    from launcher.runtime.model import set_training

    images, shapes, boxes, classes, weights = batch
    set_training(model, training)
    for layer in model.submodules:
        if hasattr(layer, "_training"):
            layer._training = training
    model.provide_groundtruth(
        groundtruth_boxes_list=tf.unstack(boxes),
        groundtruth_classes_list=tf.unstack(classes),
        groundtruth_weights_list=tf.unstack(weights),
    )
    terms = model.loss(model.predict(images, shapes), shapes)
    return float(sum(terms.values()))


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("changed", "config", "images"),
    [
        ({}, "", 2),
        ({"norm": "group"}, "", 0),
        ({"norm": "frozen"}, "", 0),
        ({"norm": "moving"}, "", 16),
        ({"norm": "renorm", "global_batch": 8}, "", 8),
        ({"statistics_images": 1}, "", 1),
        ({"sync_batch_norm": True, "replicas": 4}, "", 8),
        ({}, "model { ssd { freeze_batchnorm: true } }", 0),
        ({}, 'train_config { freeze_variables: "x" }', 0),
        ({}, "model { faster_rcnn { num_classes: 1 } }", 0),
    ],
)
def test_over_how_many_images(changed: dict[str, Any], config: str, images: int) -> None:
    from launcher.evaluate.both_modes import moments_over

    values: dict[str, Any] = {
        "name": "run", "workers": 1, "gpus_per_worker": 0, "replicas": 1, "global_batch": 32,
        "per_replica_batch": 2, "accumulation_steps": 16, "learning_rate": 0.1,
        "warmup_learning_rate": 0.01, "warmup_steps": 1, "total_steps": 10,
    }  # fmt: skip
    message = pipeline.parse(config or "model { ssd { num_classes: 1 } }", "test")
    if not message.model.WhichOneof("model"):
        message.model.ssd.num_classes = 1
    assert moments_over(WorkerConfig(**(values | changed)), message) == images
