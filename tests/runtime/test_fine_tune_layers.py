"""Starting weights where the layers are not those of a plain SSD: an EfficientNet's, and
normalization of another kind than the checkpoint's.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.errors import ConfigError
from tests.runtime.built_models import built, demo, randomize, same, save, values_of
from tests.runtime.small_pipelines import small_recipe
from tests.runtime.test_fine_tune import restore

pytestmark = pytest.mark.tensorflow

SIDE = 256  # the smallest that BiFPN takes


@pytest.mark.slow
def test_an_efficientnet_classifier_gives_the_whole_backbone(tmp_path: Path) -> None:
    """In the layout of the published ones: the classifier as `feature_extractor`, its top too,
    which the OD API's backbone has as well."""
    model = built(small_recipe("efficientdet_d0", tmp_path, side=SIDE, batch=2), SIDE)
    from official.legacy.image_classification.efficientnet import efficientnet_model

    classifier = efficientnet_model.EfficientNet.from_name("efficientnet-b0")
    theirs = randomize(classifier, seed=1)
    prefix = save(tmp_path, feature_extractor=classifier)
    before = randomize(model, seed=2)
    restored = restore(model, prefix, "classification")
    said, ours = restored.to_json(), values_of(model)
    backbone = set(values_of(model._feature_extractor.classification_backbone))
    count = len(backbone)
    assert backbone == set(theirs)
    assert said["restored"] == count > 300
    assert same(backbone, ours, theirs)
    assert same(set(ours) - backbone, ours, before)
    assert set(said["not_in_type"]) | backbone == {n.removesuffix(":0") for n in names(model)}
    lost = ("other_shape", "not_in_checkpoint", "not_in_model")
    assert [said[what] for what in lost] == [[], [], []]
    first, rest = restored.lines()
    assert first.startswith(f"fine-tuning: {count} of {len(ours)} variables (5.")
    assert first.endswith(f"restored from {prefix} as 'classification'")
    assert f"{len(ours) - count} start anew, not part of 'classification': " in rest
    # One of ten classes of one's own: no detection comes from its last layer.
    own = efficientnet_model.EfficientNet.from_name(
        "efficientnet-b0", overrides={"num_classes": 10}
    )
    theirs = randomize(own, seed=3)
    prefix = save(tmp_path / "ten", feature_extractor=own)
    said, ours = restore(model, prefix, "classification").to_json(), values_of(model)
    assert (said["restored"], len(said["other_shape"])) == (count - 2, 2)
    last = {shape["name"] for shape in said["other_shape"]}
    assert same(backbone - last, ours, theirs)
    # Another width is still another architecture.
    other = efficientnet_model.EfficientNet.from_name("efficientnet-b2")
    randomize(other, seed=4)
    with pytest.raises(ConfigError, match="is not of this model's architecture"):
        restore(model, save(tmp_path / "b2", feature_extractor=other), "classification")
    # Backbone and BiFPN alone are no full model, though the classifier's top is among them.
    import tensorflow as tf

    part = tf.train.Checkpoint(_feature_extractor=model._feature_extractor)
    with pytest.raises(ConfigError, match="has nothing of the model's heads"):
        restore(model, save(tmp_path / "part", model=part), "full")


def names(model: Any) -> list[str]:
    return [variable.name for variable in model.variables]


@pytest.fixture(scope="module")
def model() -> Any:
    return built(demo())


@pytest.mark.parametrize("kind", ["batch", "renorm", "moving", "group", "frozen"])
def test_every_kind_of_normalization_takes_all_that_batch_norm_saved(
    model: Any, kind: str, tmp_path: Path
) -> None:
    """Statistics too, which `group` has no use for; its description says what it normalizes by."""
    import tensorflow as tf

    from launcher.odapi import norm_layers

    source = randomize(model, seed=1)
    prefix = save(tmp_path, model=model)
    layers = norm_layers.layers_of(model)
    plain = [(layer.__class__, layer.momentum) for layer in layers]
    layer = layers[-1]
    x = tf.random.stateless_normal([2, 4, 4, layer.moving_mean.shape[0]], [1, 2])
    inferred = layer(x, training=False).numpy()
    try:
        norm = norm_layers.Norm(kind, updates=4)
        norm_layers.apply(model, norm, tf.Variable(0, dtype=tf.int64), 10)
        randomize(model, seed=2)
        restored = restore(model, prefix, "full")
        ours = values_of(model)
        assert set(ours) == set(source)
        assert same(set(ours), ours, source)
        (line,) = restored.lines()
        assert f"fine-tuning: {len(ours)} of {len(ours)} variables " in line
        said = norm_layers.describe(model, norm)
        assert said.startswith(f"60 normalization layers: {kind}, ")
        # Only group normalization is another function of the same weights in inference, and only
        # frozen statistics are those of inference in training.
        assert np.allclose(layer(x, training=False), inferred, atol=1e-5) == (kind != "group")
        assert np.allclose(layer(x, training=True), inferred, atol=1e-5) == (kind == "frozen")
    finally:
        for layer, (before, momentum) in zip(layers, plain, strict=True):
            layer.__class__, layer.momentum = before, momentum
