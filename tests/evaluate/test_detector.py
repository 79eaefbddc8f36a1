"""The detector against the OD API's exporter, on checkpoints as the workers save them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from launcher.errors import ConfigError, DataError
from launcher.odapi import compat, pipeline

pytestmark = pytest.mark.tensorflow

PADDED = (
    "keep_aspect_ratio_resizer { min_dimension: 128 max_dimension: 128 pad_to_max_dimension: true }"
)
RANGE = "keep_aspect_ratio_resizer { min_dimension: 128 max_dimension: 300 }"
SIZES = [(100, 50), (64, 128), (150, 150), (300, 200), (90, 128)]


@pytest.fixture(autouse=True)
def tensorflow() -> Iterator[Any]:
    compat.load()
    import tensorflow as tf

    yield tf
    tf.keras.backend.clear_session()  # the learning phase is one for the whole process


def save(text: str, folder: Path, step: int = 7) -> Path:
    """A training model of random weights and statistics, saved as a worker saves its own."""
    import tensorflow as tf
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.parse(text, "test").model, is_training=True)
    model.predict(tf.zeros([1, 128, 128, 3]), tf.constant([[128, 128, 3]]))
    random = np.random.default_rng(step)
    for variable in model.variables:
        values = random.normal(0, 0.2, variable.shape).astype("float32")
        is_scale = "variance" in variable.name or "gamma" in variable.name
        variable.assign(np.abs(values) + 0.5 if is_scale else values)
    checkpoint = tf.train.Checkpoint(step=tf.Variable(step, dtype=tf.int64), model=model)
    manager = tf.train.CheckpointManager(checkpoint, str(folder), 7, checkpoint_name="ckpt")
    return Path(manager.save(checkpoint_number=step))


@pytest.fixture(scope="module")
def saved(ssd: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One checkpoint for all tests: the resizer has no weights."""
    compat.load()
    return save(ssd(), tmp_path_factory.mktemp("checkpoints"))


def exported(text: str, prefix: Path, records: list[bytes]) -> list[dict[str, Any]]:
    """What the function that the OD API exports finds in each record, boxes from 0 to 1."""
    import tensorflow as tf
    from object_detection import exporter_lib_v2
    from object_detection.builders import model_builder

    model = model_builder.build(pipeline.parse(text, "test").model, is_training=False)
    status = tf.train.Checkpoint(model=model).restore(str(prefix)).expect_partial()
    module = exporter_lib_v2.DetectionFromTFExampleModule(model)
    function = type(module).__call__.python_function  # run as it is: tracing it takes 20 s
    found = [function(module, tf.constant([record])) for record in records]
    status.assert_existing_objects_matched()
    return [{name: tensor[0].numpy() for name, tensor in one.items()} for one in found]


@pytest.mark.parametrize(("resizer", "batch"), [(PADDED, 4), (RANGE, 1)])
def test_equal_to_the_exported_function(
    val: Any, ssd: Callable[..., str], saved: Path, resizer: str, batch: int
) -> None:
    from launcher.evaluate.detector import Detector

    random = np.random.default_rng(1)
    examples = []
    for number, (width, height) in enumerate(SIZES):
        corners = [val.box(int(c), *random.integers(0, 60, 4)) for c in random.integers(1, 4, 6)]
        examples.append(val.record(f"image {number}", corners, (width, height)))
    path = val.write(*examples)
    text = ssd(resizer=resizer)
    detector = Detector(pipeline.parse(text, "test"), [path], 4, 1)
    assert detector.batch == batch
    detector.restore(saved)
    found = [one for some in detector.detect() for one in some]

    expected = exported(text, saved, [e.SerializeToString() for e in examples])
    assert [f.source_id for f in found] == [f"image {i}" for i in range(len(SIZES))]
    for (width, height), ours, theirs in zip(SIZES, found, expected, strict=True):
        count = int(theirs["num_detections"])
        assert len(ours.scores) == count > 20
        ymin, xmin, ymax, xmax = theirs["detection_boxes"][:count].T
        corners = np.stack([xmin, ymin, xmax - xmin, ymax - ymin], axis=1)
        scale = np.array([width, height, width, height])
        np.testing.assert_allclose(ours.boxes / scale, corners, atol=1e-5)
        np.testing.assert_allclose(ours.scores, theirs["detection_scores"][:count], atol=1e-5)
        np.testing.assert_array_equal(ours.classes, theirs["detection_classes"][:count])
        assert set(ours.classes) <= {1, 2, 3}


def test_a_checkpoint_that_does_not_fit(
    val: Any, ssd: Callable[..., str], saved: Path, tensorflow: Any
) -> None:
    from launcher.evaluate.detector import CheckpointGone, Detector

    path = val.write(val.record("a", [val.box(1, 0, 0, 9, 9)]))
    detector = Detector(pipeline.parse(ssd(), "test"), [path], 4, 1)

    other_classes = save(ssd(classes=5), val.folder / "five")
    with pytest.raises(ConfigError) as e:
        detector.restore(other_classes)
    assert f"{other_classes}: the checkpoint is of another model (" in str(e.value)

    tf = tensorflow
    checkpoint = tf.train.Checkpoint(model=tf.train.Checkpoint(weight=tf.Variable(1.0)))
    other_objects = Path(checkpoint.write(str(val.folder / "ckpt-1")))
    with pytest.raises(ConfigError, match="the checkpoint is of another model"):
        detector.restore(other_objects)

    detector.restore(saved)
    torn = Path(shutil.copytree(saved.parent, val.folder / "torn")) / saved.name
    data = torn.with_name("ckpt-7.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(DataError, match="the checkpoint cannot be read"):
        detector.restore(torn)
    with pytest.raises(CheckpointGone):
        detector.restore(saved.with_name("ckpt-8"))
