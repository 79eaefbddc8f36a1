"""Whether a step waits for its input, on real tf.data pipelines."""

import threading
import time

import numpy as np
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
    assert count.lacks(4)  # at most one was taken ahead


def test_a_read_that_does_not_end_is_waited_for() -> None:
    import tensorflow as tf

    from launcher.runtime.input_count import InputCount

    answers = threading.Event()

    def read(number: "np.int64") -> "np.int64":
        if number == 3:
            answers.wait(60)
        return number

    count = InputCount(per_step=1)
    records = tf.data.Dataset.counter().map(lambda n: tf.numpy_function(read, [n], tf.int64))
    iterator = iter(count.counted(records).prefetch(1))
    for _ in range(3):
        next(iterator)
    time.sleep(0.2)
    assert not count.lacks(3)
    assert count.lacks(4)
    answers.set()  # the file system answers again
    assert next(iterator).numpy() == 3
    assert not count.lacks(4)
