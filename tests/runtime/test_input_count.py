"""Whether a step waits for its input, on real tf.data pipelines."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow


def test_an_input_that_gives_is_not_waited_for() -> None:
    import tensorflow as tf

    from launcher.runtime.input_count import InputCount

    endless = tf.data.Dataset.from_tensors({"image": tf.zeros([2, 3])}).repeat()
    count = InputCount(per_step=2)
    counted = count.counted(endless)
    assert counted.element_spec == endless.element_spec
    assert counted.cardinality() == tf.data.INFINITE_CARDINALITY
    iterator = iter(counted.prefetch(1))
    for _ in range(4):
        next(iterator)
    assert not count.lacks(2)
    wait_until(lambda: not count.lacks(3))


def test_a_file_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    import tensorflow as tf

    from launcher.runtime.input_count import InputCount

    good, fifo = tmp_path / "0.record", tmp_path / "1.record"
    with tf.io.TFRecordWriter(str(good)) as writer:
        for _ in range(3):
            writer.write(b"image")
    os.mkfifo(fifo)
    files = tf.data.Dataset.from_tensor_slices([str(good), str(fifo)]).repeat()
    count = InputCount(per_step=1)
    iterator = iter(count.counted(files.flat_map(tf.data.TFRecordDataset)).prefetch(1))
    for _ in range(3):
        next(iterator)
    assert not count.lacks(3)
    wait_until(lambda: count.lacks(4))
    with fifo.open("wb") as file:  # the file system answers again
        file.write(good.read_bytes())
    next(iterator)
    assert not count.lacks(4)


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
