"""Rows chosen by their index, where the OD API multiplies with one-hot matrices made for TPUs.

On GPUs from Ampere on TensorFlow multiplies float32 matrices in TF32, which keeps 11 bits of each
factor. Of a box in 1,024 px that moves an edge by up to 0.25 px. Static Faster R-CNN fetches
indices in that way too: above 2,048 they name other anchors, and what is sampled is no longer what
matches. A gather copies the rows; where nothing is rounded, the values are the same.
"""

from functools import wraps
from typing import Any

import tensorflow as tf
from object_detection.core import box_list_ops

_ASSIGNERS = ("_target_assigner", "_proposal_target_assigner", "_detector_target_assigner")
_SAMPLERS = ("_first_stage_sampler", "_second_stage_sampler")


def apply(model: Any) -> None:
    """Before the model is traced. Its config stays what it is."""
    for name in _ASSIGNERS:
        if hasattr(model, name):
            getattr(model, name)._matcher._use_matmul_gather = False
    for name in _SAMPLERS:
        if hasattr(model, name):
            getattr(model, name)._get_values_from_start_and_end = _start_and_end
    if not hasattr(box_list_ops.boolean_mask, "__wrapped__"):
        box_list_ops.boolean_mask = _boolean_mask(box_list_ops.boolean_mask)


def _start_and_end(values: tf.Tensor, start: tf.Tensor, end: tf.Tensor, count: int) -> tf.Tensor:
    """The first `start` and last `end` of int32 values, `count` in all."""
    size = tf.shape(values)[0]
    place = tf.range(size)
    return _chosen(values, (place < start) | (place >= size - end), count)


def _boolean_mask(original: Any) -> Any:
    @wraps(original)
    def boolean_mask(
        boxlist: Any,
        indicator: tf.Tensor,
        fields: Any = None,
        scope: Any = None,
        use_static_shapes: bool = False,
        indicator_sum: int | None = None,
    ) -> Any:
        if not (use_static_shapes and indicator_sum):
            return original(boxlist, indicator, fields, scope, use_static_shapes, indicator_sum)
        rows = _chosen(tf.range(tf.shape(indicator)[0]), indicator, indicator_sum)
        return box_list_ops.gather(boxlist, rows)

    return boolean_mask


def _chosen(values: tf.Tensor, indicator: tf.Tensor, count: int) -> tf.Tensor:
    """The first `count` int32 values whose indicator is true; 0 where there are fewer."""
    # Counted in float32, which GPUs can; exact up to 2^24.
    position = tf.cast(tf.cumsum(tf.cast(indicator, tf.float32)), tf.int32) - 1
    taken = indicator & (position < count)
    return tf.math.unsorted_segment_sum(values, tf.where(taken, position, -1), count)
