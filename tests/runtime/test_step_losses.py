"""The divisor of models other than SSD, from predictions that no network has to make."""

from typing import Any

import numpy as np
import pytest

from launcher import recipes
from launcher.odapi import compat
from launcher.odapi.normalizers import Normalizer, normalizer_of, several_divisors

BOXES = (0, 7, 1, 0, 0, 0)
"""In each of six images."""


@pytest.mark.tensorflow
@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_parts_of_centernet_make_the_loss_of_the_whole(size: int) -> None:
    """The OD API's own loss of all images; some parts have no object, one has seven."""
    compat.load()
    import tensorflow as tf
    from object_detection.builders import model_builder

    from launcher.runtime.losses import Losses

    message = recipes.get("centernet_resnet101_v1_fpn_512").build()
    message.model.center_net.num_classes = 3
    model = model_builder.build(message.model, is_training=True)
    losses = Losses(
        model,
        message.train_config,
        normalizer_of(message.model, "global"),
        micro_batches=len(BOXES) // size,
        training_step=tf.Variable(0),
    )
    random = np.random.default_rng(0)
    images = []
    for count in BOXES:
        corner = random.uniform(0, 0.5, (count, 2))
        sides = random.uniform(0.1, 0.5, (count, 2))
        boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        images.append((boxes, np.eye(3, dtype=np.float32)[random.integers(0, 3, count)]))
    made = {
        name: random.normal(0, 1, [len(BOXES), 16, 16, channels]).astype(np.float32)
        for name, channels in (("object_center", 3), ("box/scale", 2), ("box/offset", 2))
    }

    def provide(start: int, stop: int) -> tuple[dict[str, Any], Any]:
        some = images[start:stop]
        model.provide_groundtruth(
            groundtruth_boxes_list=[tf.constant(boxes) for boxes, _ in some],
            groundtruth_classes_list=[tf.constant(classes) for _, classes in some],
            groundtruth_weights_list=[tf.ones(len(boxes)) for boxes, _ in some],
        )
        predictions: dict[str, Any] = {k: [tf.constant(v[start:stop])] for k, v in made.items()}
        predictions["preprocessed_inputs"] = tf.zeros([stop - start, 64, 64, 3])
        return predictions, tf.constant([[64, 64, 3]] * (stop - start))

    parts = [losses.part_of(*provide(i, i + size)) for i in range(0, len(BOXES), size)]
    divisor = sum(float(part.count) for part in parts)
    assert divisor == sum(BOXES)
    whole = model.loss(*provide(0, len(BOXES)))
    assert set(whole) == set(parts[0].terms)
    for name, value in whole.items():
        ours = sum(float(part.terms[name]) for part in parts) / divisor
        assert ours == pytest.approx(float(value), rel=1e-5)


def test_which_models_have_one_divisor() -> None:
    found = {
        name: (normalizer_of(message, "global"), several_divisors(message))
        for name in recipes.names()
        for message in [recipes.get(name).build().model]
    }
    one = {name for name, (kind, several) in found.items() if not several}
    assert {name for name in found if name not in one} == {
        "centernet_hourglass104_512_kpts", "centernet_hourglass104_1024_kpts",
        "centernet_resnet50_v1_fpn_512_kpts", "centernet_resnet50_v2_512_kpts",
        "mask_rcnn_inception_resnet_v2_1024",
    }  # fmt: skip
    kinds = {
        "centernet": Normalizer.BOXES,
        "faster_rcnn": Normalizer.IMAGES,
        "ssd": Normalizer.MATCHES,
        "efficientdet": Normalizer.MATCHES,
    }
    for name in one:
        assert found[name][0] is next(k for prefix, k in kinds.items() if name.startswith(prefix))
    for name in set(found) - one:
        assert found[name][0] is Normalizer.MICRO_BATCH
