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
    tensorflow: Any,
    val: Any,
    ssd: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from launcher.evaluate import both_modes, ground_truth
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

    (batch,) = both._batches()
    _, true_shapes, real, _, weights = batch
    assert weights.numpy().sum(axis=1).tolist() == [1, 2, 2, 0]
    # Image 2 is 64 of 128 px high: its boxes keep their pixels, in parts of the padded picture.
    assert true_shapes.numpy()[1].tolist() == [64, 128, 3]
    assert real.numpy()[1, 0] * 128 == pytest.approx([10, 10, 40, 70], abs=1e-3)
    expected = {mode: own_loss(tensorflow, model, batch, mode) for mode in (False, True)}
    assert found.inference == pytest.approx(expected[False], rel=1e-4)
    assert found.training == pytest.approx(expected[True], rel=1e-3)
    assert abs(found.training - found.inference) > 0.01 * found.inference

    # Two sets of moments, then in two calls of as many images as the detector has at once: the
    # losses, made image by image, are still those of all of them.
    together = BothModes(detector, truth.images, over=2).measure()
    assert together is not None
    monkeypatch.setattr(both_modes, "SMALL", 0)
    monkeypatch.setattr(both_modes, "SMALL_LOSS", 0)
    parts = BothModes(detector, truth.images, over=2)
    in_parts = parts.measure()
    assert in_parts is not None
    assert (in_parts.images, in_parts.moments_over) == (IMAGES, 2)
    assert in_parts.inference == pytest.approx(together.inference, rel=1e-5)
    assert in_parts.training == pytest.approx(together.training, rel=1e-4)
    assert {network.inputs[0].shape[0] for network in parts._networks or ()} == {2}
    assert parts._loss.inputs[1].shape[0] == 1  # box_encodings
    whole = BothModes(detector, truth.images, over=4)
    assert whole.measure() is None
    assert whole.impossible == (
        "one set of moments is over 4 images in training, and 2 of 128 x 128 px are what goes "
        "through the detector at once"
    )
    assert whole._networks is None

    few = BothModes(detector, truth.images, over=8)
    assert few.impossible == "4 val images, one set of moments is over 8 in training"
    assert few.measure() is None


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


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("over", "images", "batch", "side", "together"),
    [
        (16, 16, 16, 128, 16),  # make demo
        (2, 16, 2, 128, 16),  # small images: all at once, whatever the detector has
        (16, 16, 2, 320, 16),
        (16, 16, 2, 512, 0),  # moments over the step, which the evaluator has no memory for
        (16, 16, 16, 1536, 16),  # as many as the detector has
        (2, 16, 8, 896, 8),
        (2, 16, 2, 896, 2),
        (3, 15, 8, 896, 3),  # equal calls
        (8, 16, 15, 896, 8),
        (1, 16, 1, 1536, 1),
    ],
)
def test_how_many_images_at_once(
    over: int, images: int, batch: int, side: int, together: int
) -> None:
    from launcher.evaluate.both_modes import at_once

    assert at_once(over, images, batch, side * side) == together
