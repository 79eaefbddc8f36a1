"""The OD API's augmentation, drawn from an image's position instead of a running generator.

`core/preprocessor.py` draws with `tf.random_uniform` and its like, which count on from call to
call: which image gets which numbers then depends on the threads of the map, and a resumed run
begins the series anew. Drawn from (seed, position), the same image of the order is the same
picture in every run, on any number of workers.

`utils/autoaugment_utils.py` (`autoaugment_image`, in no published recipe) is left as it is: it
draws within loops, where a number for a place in the graph would come again every time around.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
from object_detection.core import preprocessor

_SITES = 1 << 20
"""Room for the places in the graph that draw, beside the seed."""


@contextmanager
def drawn_from(seed: int, position: tf.Tensor) -> Iterator[None]:
    """While the OD API's transformation is traced, its random ops take these as their seed."""
    before = preprocessor.tf
    preprocessor.tf = _Replaced(before, **_replacements(before, _Draw(seed, position)))
    try:
        yield
    finally:
        preprocessor.tf = before


class _Draw:
    """Stateless random ops with the signatures of the stateful ones; their own seed is unused."""

    def __init__(self, seed: int, position: tf.Tensor) -> None:
        self._position = tf.cast(position, tf.int64)
        self._sites = (seed * _SITES + i for i in count())

    def _seed(self) -> tf.Tensor:
        return tf.stack([self._position, tf.constant(next(self._sites), tf.int64)])

    def uniform(
        self,
        shape: Any,
        minval: Any = 0,
        maxval: Any = None,
        dtype: Any = tf.float32,
        seed: Any = None,
        name: Any = None,
    ) -> tf.Tensor:
        return tf.random.stateless_uniform(shape, self._seed(), minval, maxval, dtype)

    def normal(
        self,
        shape: Any,
        mean: Any = 0.0,
        stddev: Any = 1.0,
        dtype: Any = tf.float32,
        seed: Any = None,
        name: Any = None,
    ) -> tf.Tensor:
        return tf.random.stateless_normal(shape, self._seed(), mean, stddev, dtype)

    def distorted_box(self, image_size: Any, bounding_boxes: Any, **options: Any) -> Any:
        options.pop("seed", None)
        return tf.image.stateless_sample_distorted_bounding_box(
            image_size, bounding_boxes, self._seed(), **options
        )


def _replacements(real: Any, draw: _Draw) -> dict[str, Any]:
    return {
        "random_uniform": draw.uniform,
        "random_normal": draw.normal,
        "random": _Replaced(real.random, uniform=draw.uniform, normal=draw.normal),
        "image": _Replaced(real.image, sample_distorted_bounding_box=draw.distorted_box),
    }


class _Replaced(SimpleNamespace):
    """A module in which some names are others."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        super().__init__(**replaced)
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)
