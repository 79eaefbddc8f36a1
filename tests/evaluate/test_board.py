"""TensorBoard's files of the evaluator."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from launcher.contract import COCO_NUMBERS
from launcher.evaluate.writers import TensorBoard
from launcher.odapi import compat

pytestmark = pytest.mark.tensorflow


def summaries(folder: Path) -> dict[str, Any]:
    import tensorflow as tf

    files = [str(path) for path in sorted(folder.iterdir())]
    events = [e for file in files for e in tf.compat.v1.train.summary_iterator(file)]
    return {value.tag: (e.step, value) for e in events for value in e.summary.value}


def test_pictures_are_those_of_tensorflow(tmp_path: Path) -> None:
    compat.load()  # before TensorFlow, for the tests that share this process
    import numpy as np
    import tensorflow as tf

    picture = Image.effect_noise((60, 40), 90).convert("P")
    board = TensorBoard(tmp_path / "ours")
    numbers = dict.fromkeys(COCO_NUMBERS, 0.25) | {"APs": -1.0}
    board.write(7, numbers, [picture])
    board.close()
    pixels = np.asarray(picture.convert("RGB"))
    with tf.summary.create_file_writer(str(tmp_path / "theirs")).as_default(step=7):
        tf.summary.image("val/0", pixels[np.newaxis])

    (step, ours), (_, theirs) = (summaries(tmp_path / f)["val/0"] for f in ("ours", "theirs"))
    assert step == 7
    assert ours.metadata == theirs.metadata
    assert ours.tensor.string_val[:2] == theirs.tensor.string_val[:2] == [b"60", b"40"]
    with Image.open(io.BytesIO(ours.tensor.string_val[2])) as read:
        np.testing.assert_array_equal(np.asarray(read), pixels)
    tags = set(summaries(tmp_path / "ours"))
    assert "coco/mAP" in tags
    assert "coco/APs" not in tags
