"""How many micro-batches the input was asked for and has given: does a worker wait for it?

The step takes its micro-batches inside a tf.function, where Python cannot tell the wait for the
input from the wait for other workers. Counted at the end of the input, the answer is arithmetic:
the step waits for it when one was asked for and not given, and fewer were given than the steps up
to the running one take. (Asked alone says nothing: TensorFlow takes one or two ahead.)
"""

from typing import Any

import tensorflow as tf


class InputCount:
    """`per_step`: the elements of the data set that one step takes in this process.

    Make it outside of a strategy's scope: the two numbers are this process's own.
    """

    def __init__(self, per_step: int) -> None:
        self._per_step = per_step
        with tf.device("/cpu:0"):
            self._asked = tf.Variable(0, dtype=tf.int64, trainable=False, name="input_asked")
            self._given = tf.Variable(0, dtype=tf.int64, trainable=False, name="input_given")

    def counted(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """The same data set, at the cost of two additions an element."""

        def asked(number: tf.Tensor) -> tf.Tensor:
            self._asked.assign_add(1)
            return number

        def given(number: tf.Tensor, element: Any) -> Any:
            self._given.assign_add(1)
            return element

        # zip takes the number before it takes the element: while that does not come, it is asked.
        numbers = tf.data.Dataset.counter().map(asked)
        return tf.data.Dataset.zip(numbers, dataset).map(given)

    def lacks(self, steps: int) -> bool:
        """Whether the last of the first `steps` steps of this process waits for the input."""
        given = int(self._given.numpy())
        return given < min(int(self._asked.numpy()), steps * self._per_step)
