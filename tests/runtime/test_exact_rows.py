"""No target goes through a product of matrices, which GPUs round; the values stay the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.odapi import compat
from tests.runtime.small_pipelines import small_recipe

pytestmark = pytest.mark.tensorflow

SIDE = 128
SSD, FASTER_RCNN = "ssd_mobilenet_v2_320", "faster_rcnn_resnet50_v1_640"
BOXES = [[0.1, 0.07, 0.63, 0.55], [0.52, 0.31, 0.97, 0.83], [0.03, 0.6, 0.333, 0.91]]


def built(recipe: str) -> tuple[Any, Any]:
    """The OD API's model as its builder makes it, and the worker's."""
    compat.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    from launcher.runtime.model import build_model

    message = small_recipe(recipe, Path("/no/data"), side=SIDE, batch=2)
    ours = build_model(message, tf.distribute.get_strategy())
    return model_builder.build(message.model, is_training=True), ours


def assigned(assigner: Any, *tensors: Any) -> list[Any]:
    """The targets of one image, and the products of matrices that made them."""
    import tensorflow as tf
    from object_detection.core.box_list import BoxList

    from tests.runtime.graphs import products

    @tf.function(autograph=False)
    def targets(anchors: Any, boxes: Any, classes: Any, weights: Any) -> Any:
        unmatched = tf.constant([1.0, 0, 0, 0])
        return assigner.assign(BoxList(anchors), BoxList(boxes), classes, unmatched, weights)[:4]

    concrete = targets.get_concrete_function(*tensors)
    return [*(t.numpy() for t in concrete(*tensors)), products(concrete)]


@pytest.mark.parametrize(
    ("recipe", "assigners"),
    [
        (SSD, ["_target_assigner"]),
        (FASTER_RCNN, ["_proposal_target_assigner", "_detector_target_assigner"]),
    ],
)
def test_targets_are_gathered_and_the_same(recipe: str, assigners: list[str]) -> None:
    import tensorflow as tf

    theirs, ours = built(recipe)
    random = np.random.default_rng(0)
    corner = random.uniform(0, 0.8, [400, 2])
    anchors = np.concatenate([corner, corner + random.uniform(0.05, 0.5, [400, 2])], axis=1)
    anchors[:3] = np.array(BOXES) + 0.01
    scale = 1 if recipe == SSD else SIDE
    tensors = [
        tf.constant(anchors * scale, tf.float32),
        tf.constant(np.array(BOXES) * scale, tf.float32),
        tf.one_hot([1, 3, 2], 4),
        tf.constant([1.0, 0.3, 1.0]),
    ]
    for name in assigners:
        *expected, multiplied = assigned(getattr(theirs, name), *tensors)
        *found, none = assigned(getattr(ours, name), *tensors)
        assert multiplied, "else the recipe does not ask for it any more"
        assert none == set()
        assert np.count_nonzero(expected[3]) >= 3, "boxes are matched"
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("positives", [0, 5, 40, 300])
def test_a_static_sampler_takes_the_same(positives: int) -> None:
    """With more positives than it takes, and fewer values than it fills up."""
    import tensorflow as tf

    theirs, ours = built_samplers()
    for size in (20_000, 300):
        values = np.sort(np.random.default_rng(1).permutation(size).astype(np.int32))[::-1]
        values = tf.constant(values - (size - min(positives, size)))
        start = tf.constant(min(positives, 32))
        arguments = (values, start, 64 - start, 64)
        np.testing.assert_array_equal(
            ours._get_values_from_start_and_end(*arguments),
            theirs._get_values_from_start_and_end(*arguments),
        )


def built_samplers() -> tuple[Any, Any]:
    compat.load()
    from object_detection.core.balanced_positive_negative_sampler import (
        BalancedPositiveNegativeSampler,
    )

    from launcher.odapi import exact_rows

    class Model:
        _first_stage_sampler = BalancedPositiveNegativeSampler(0.5, is_static=True)

    exact_rows.apply(Model)
    return BalancedPositiveNegativeSampler(0.5, is_static=True), Model._first_stage_sampler


@pytest.mark.parametrize("chosen", [0, 7, 64, 90])
def test_a_static_mask_takes_the_same_boxes(chosen: int) -> None:
    """And has their gradient, which trains the second stage."""
    import tensorflow as tf

    built_samplers()
    from object_detection.core import box_list_ops
    from object_detection.core.box_list import BoxList

    random = np.random.default_rng(2)
    indicator = np.zeros(5000, bool)
    indicator[random.choice(5000, chosen, replace=False)] = True
    boxes = tf.constant(random.normal(size=[5000, 4]), tf.float32)
    found = []
    for mask in (box_list_ops.boolean_mask, box_list_ops.boolean_mask.__wrapped__):
        with tf.GradientTape() as tape:
            tape.watch(boxes)
            part = mask(BoxList(boxes), tf.constant(indicator), None, None, True, 64).get()
            total = tf.reduce_sum(part * part)
        found.append([part, tf.convert_to_tensor(tape.gradient(total, boxes))])
    assert found[0][0].shape == [64, 4]
    (part, gradient), (expected, its_gradient) = found
    np.testing.assert_array_equal(part, expected)
    # Row 0 fills up what is missing: its gradient is a sum of as many, in another order.
    np.testing.assert_allclose(gradient, its_gradient, rtol=1e-5)


@pytest.mark.parametrize("recipe", [SSD, pytest.param(FASTER_RCNN, marks=pytest.mark.slow)])
def test_a_step_multiplies_matrices_in_the_network_only(recipe: str, shapes: Path) -> None:
    """Which are Faster R-CNN's two layers of the second stage."""
    from tests.runtime.graphs import products
    from tests.runtime.small_pipelines import step_of

    step, iterator, _ = step_of(
        small_recipe(recipe, shapes, side=SIDE, batch=2), per_replica_batch=2
    )
    import tensorflow as tf

    found = products(step._step.get_concrete_function(iterator, tf.zeros([2])))
    assert {name for name in found if "dense" not in name.lower()} == set(), found
    assert bool(found) == (recipe == FASTER_RCNN)
