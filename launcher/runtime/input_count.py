"""How many micro-batches the input has given: does a worker wait for it?

The step takes its micro-batches inside a tf.function, where Python cannot tell the wait for the
input from the wait for other workers. Counted at the end of the input, the answer is arithmetic:
as long as fewer were given than the steps up to the running one take, the step waits for the input.
"""

from typing import Any

import tensorflow as tf


class InputCount:
    """`per_step`: the elements of the data set that one step takes in this process.

    Make it outside of a strategy's scope: the number is this process's own.
    """

    def __init__(self, per_step: int) -> None:
        self._per_step = per_step
        with tf.device("/cpu:0"):
            self._given = tf.Variable(0, dtype=tf.int64, trainable=False, name="input_given")

    def counted(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same data set, at the cost of one addition an element."""

        def given(*element: Any) -> Any:
            self._given.assign_add(1)
            return element if len(element) > 1 else element[0]

        return dataset.map(given)

    def lacks(self, steps: int) -> bool:
        """Whether the first `steps` steps of this process take more than was given so far."""
        return int(self._given.numpy()) < steps * self._per_step
