"""Starting weights: the layouts that the OD API writes, and everything that does not fit."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.errors import ConfigError
from launcher.odapi import compat
from launcher.records import checkpoint as files
from tests.runtime.built_models import built, demo, names_of, randomize, same, save, values_of

pytestmark = pytest.mark.tensorflow


@pytest.fixture(scope="module")
def model() -> Any:
    """Three classes; each test gives it the weights that it needs."""
    return built(demo())


@pytest.fixture(scope="module")
def published(model: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """A detection checkpoint of the same model in the zoo's layout, and its values."""
    values = randomize(model, seed=1)
    return save(tmp_path_factory.mktemp("zoo"), model=model), values


def config_of(prefix: str, kind: str) -> Any:
    train = demo().train_config
    train.fine_tune_checkpoint, train.fine_tune_checkpoint_type = prefix, kind
    train.fine_tune_checkpoint_version = 2
    return train


def restore(model: Any, prefix: str, kind: str) -> Any:
    from launcher.runtime import fine_tune

    return fine_tune.restore(model, config_of(prefix, kind))


def refused(model: Any, prefix: str, kind: str) -> Any:
    """The problem; the model has to be as it was."""
    before = randomize(model, seed=99)
    with pytest.raises(ConfigError) as caught:
        restore(model, prefix, kind)
    assert same(set(before), before, values_of(model))
    (problem,) = caught.value.problems
    assert problem.place == prefix
    return problem


@pytest.mark.parametrize("kind", ["detection", "full"])
def test_as_the_od_api_restores_it(
    model: Any, published: tuple[str, dict[str, Any]], kind: str
) -> None:
    from object_detection import model_lib_v2

    prefix, source = published
    randomize(model, seed=2)
    model_lib_v2.load_fine_tune_checkpoint(model, prefix, kind, 2, False, None, True)
    theirs = values_of(model)

    before = randomize(model, seed=2)
    restored = restore(model, prefix, kind)
    ours = values_of(model)
    assert same(set(ours), ours, theirs)
    changed = {name for name in ours if not np.array_equal(ours[name], before[name])}
    assert same(changed, ours, source)
    said = restored.to_json()
    assert said["restored"] == len(changed)
    assert said["variables"] == len(ours)
    if kind == "full":
        assert changed == set(ours)
        assert restored.lines() == [
            f"fine-tuning: {len(ours)} of {len(ours)} variables (0.6 M of 0.6 M parameters) "
            f"restored from {prefix} as 'full'"
        ]
    else:
        heads = names_of(model, lambda name: "BoxPredictor" in name or "Predictor" in name)
        assert heads
        assert changed == set(ours) - heads
        assert len(said["not_in_type"]) == len(heads)
        assert "start anew, not part of 'detection'" in restored.lines()[1]


def test_a_classifier_with_its_top(model: Any, tmp_path: Path) -> None:
    """As the OD API's convert_keras_models.py saves the published classification checkpoints."""
    from object_detection.models.keras_models import mobilenet_v2

    classifier = mobilenet_v2.mobilenet_v2(
        True, alpha=0.35, min_depth=16, weights=None, include_top=True, classes=1000
    )
    prefix = save(tmp_path, feature_extractor=classifier)
    randomize(model, seed=3)
    restored = restore(model, prefix, "classification")
    backbone = model._feature_extractor.classification_backbone
    assert len(backbone.variables) == restored.to_json()["restored"] > 250
    names = set(values_of(backbone))
    assert len(names) == len(backbone.variables)
    assert same(names, values_of(model), values_of(classifier))
    assert [u.rsplit("/", 1)[1] for u in restored.to_json()["not_in_model"]] == ["bias", "kernel"]
    assert "of the checkpoint are not used" in restored.lines()[-1]


def test_heads_of_other_classes_start_anew(model: Any, tmp_path: Path) -> None:
    other = built(demo(classes=5))
    source = randomize(other, seed=4)
    prefix = save(tmp_path, model=other)
    before = randomize(model, seed=5)
    restored = restore(model, prefix, "full")
    said, ours = restored.to_json(), values_of(model)
    classes = {o["name"] for o in said["other_shape"]}
    assert len(classes) == 12  # kernel and bias of six feature maps
    assert all("ClassPredictor" in name for name in classes)
    assert same(classes, ours, before)
    assert same(set(ours) - classes, ours, source)
    (line,) = restored.lines()[1:]
    assert "12 start anew, of another shape in the checkpoint: " in line
    assert ", there [" in line


def test_another_architecture_is_told_with_its_counts(model: Any, tmp_path: Path) -> None:
    wider = built(demo(depth=0.5))
    prefix = save(tmp_path, model=wider)
    for kind in ("detection", "full"):
        problem = refused(model, prefix, kind)
        assert "is not of this model's architecture: of the " in problem.what
        assert "variables of its feature extractor" in problem.what
        assert " have another shape, as " in problem.what
        assert problem.remedy == "Use a checkpoint of the same architecture"


def test_the_wrong_type_names_the_right_one(
    model: Any, published: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    problem = refused(model, published[0], "classification")
    assert problem.what.startswith("restores none of the model's ")
    assert problem.remedy.startswith("It fits as fine_tune_type: full (")

    backbone = model._feature_extractor.classification_backbone
    classification = save(tmp_path / "c", feature_extractor=backbone)
    problem = refused(model, classification, "detection")
    assert problem.remedy.startswith("It fits as fine_tune_type: classification (")

    import tensorflow as tf

    part = tf.train.Checkpoint(_feature_extractor=model._feature_extractor)
    problem = refused(model, save(tmp_path / "d", model=part), "full")
    assert problem.what.startswith("has nothing of the model's heads (")
    assert problem.remedy.startswith("It fits as fine_tune_type: detection (")


def test_what_is_no_checkpoint_of_tensorflow_2(model: Any, tmp_path: Path) -> None:
    import tensorflow as tf

    prefix = str(tmp_path / "model.ckpt")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = tf.compat.v1.get_variable("FeatureExtractor/weights", [3])
        session.run(variable.initializer)
        tf.compat.v1.train.Saver().save(session, prefix)
    for kind in ("classification", "full"):
        problem = refused(model, prefix, kind)
        assert problem.what == "a checkpoint of TensorFlow 1: names, no objects"
    assert refused(model, str(tmp_path), "full").remedy == f"Did you mean {prefix}?"


@pytest.mark.parametrize("path", ["s3://bucket/ckpt-0", "nowhere://bucket/ckpt-0"])
def test_a_file_system_that_tensorflow_does_not_know(model: Any, path: str) -> None:
    problem = refused(model, path, "full")
    assert problem.what.startswith("cannot be read (File system scheme '")
    assert "the workers may read it" in problem.remedy


def test_damaged_files(model: Any, published: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    prefix = published[0]
    assert files.flaw(prefix) is None
    copy = str(tmp_path / "ckpt-0")
    for end in (".index", ".data-00000-of-00001"):
        Path(f"{copy}{end}").write_bytes(Path(f"{prefix}{end}").read_bytes())
    data = Path(f"{copy}.data-00000-of-00001")
    values = bytearray(data.read_bytes())
    for damaged in (values[:1000], values[:-1]):
        data.write_bytes(damaged)
        assert refused(model, copy, "full").what.startswith("cannot be read (")
    values[len(values) // 2] ^= 1  # a bit, among the values
    data.write_bytes(values)
    assert refused(model, copy, "full").what.startswith("cannot be read (")
    os.truncate(f"{copy}.index", 1000)
    assert "is not the index of a checkpoint" in refused(model, copy, "full").what


def test_words_that_the_od_api_takes_silently(
    model: Any, published: tuple[str, dict[str, Any]]
) -> None:
    from launcher.runtime import fine_tune

    compat.load()
    config = config_of(published[0], "")
    with pytest.raises(ConfigError, match='"" is not a type that can be restored'):
        fine_tune.restore(model, config)
    config = config_of(published[0], "full")
    config.fine_tune_checkpoint_version = 1
    with pytest.raises(ConfigError, match="fine_tune_checkpoint_version: is not V2"):
        fine_tune.restore(model, config)
