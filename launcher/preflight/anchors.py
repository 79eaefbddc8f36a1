"""The anchors of a pipeline.config, and how well they match boxes; without TensorFlow.

As the OD API's three generators make them (`anchor_generators/`): boxes of a few shapes, repeated
on a grid. The overlap of two boxes of fixed size is largest where their centres are nearest, along
each axis for itself. So the best anchor of a box is found among one anchor a shape, not among the
150,000 of EfficientDet-D3.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, sqrt

import numpy as np
import numpy.typing as npt

from launcher.odapi.protos import Message

Array = npt.NDArray[np.float64]

MATCHED = 0.5
"""IoU from which on an anchor is a box's own, not forced on it: SSD's, RetinaNet's, EfficientDet's
matched_threshold."""
_FINEST_SSD_LEVEL = 4
"""ssd_anchor_generator's first feature map has a stride of 16 in every SSD feature extractor of
the OD API that uses it (ssd_mobilenet_*, ssd_inception_*), each next one half its cells."""
_BOXES = 4096
"""Handled at a time: 45 shapes of each are a few MB."""


@dataclass(frozen=True)
class Grid:
    """Anchors of one feature map, in pixels of the input: every size at every point."""

    sizes: tuple[tuple[float, float], ...]
    """(height, width) of each shape."""
    stride: tuple[float, float]
    offset: tuple[float, float]
    """Of the first point, as (y, x)."""
    points: tuple[int, int]
    """Rows and columns."""

    def boxes(self) -> Array:
        """All of them as [ymin, xmin, ymax, xmax]: by row, column, shape."""
        y = np.arange(self.points[0]) * self.stride[0] + self.offset[0]
        x = np.arange(self.points[1]) * self.stride[1] + self.offset[1]
        centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)[:, :, None, :]
        half = np.array(self.sizes)[None, None] / 2
        return np.concatenate([centres - half, centres + half], axis=-1).reshape(-1, 4)


@dataclass(frozen=True)
class Anchors:
    """All grids for one input size. `inside`: only anchors within the input are trained on."""

    grids: tuple[Grid, ...]
    canvas: tuple[int, int]
    inside: bool

    @property
    def smallest(self) -> float:
        """Side of the smallest one, in pixels: the root of its area."""
        return min(sqrt(height * width) for grid in self.grids for height, width in grid.sizes)

    @property
    def largest(self) -> float:
        return max(sqrt(height * width) for grid in self.grids for height, width in grid.sizes)

    @property
    def count(self) -> int:
        return sum(len(g.sizes) * g.points[0] * g.points[1] for g in self.grids)

    def best_iou(self, boxes: Array) -> Array:
        """Of each box ([ymin, xmin, ymax, xmax] in pixels of the input), that with its best
        anchor."""
        parts = [boxes[i : i + _BOXES] for i in range(0, len(boxes), _BOXES)]
        return np.concatenate([np.zeros(0), *(self._best(part) for part in parts)])

    def _best(self, boxes: Array) -> Array:
        best = np.zeros(len(boxes))
        for grid in self.grids:
            sizes = np.array(grid.sizes)
            heights = self._overlaps(boxes, sizes, grid, axis=0)
            widths = self._overlaps(boxes, sizes, grid, axis=1)
            common = heights * widths  # [boxes, shapes]
            own = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
            union = own[:, None] + sizes.prod(axis=1)[None] - common
            iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
            best = np.maximum(best, iou.max(axis=1))
        return best

    def _overlaps(self, boxes: Array, sizes: Array, grid: Grid, axis: int) -> Array:
        """Common lengths along an axis, [boxes, shapes], with the nearest anchor of each shape."""
        low, high, size = boxes[:, axis, None], boxes[:, axis + 2, None], sizes[None, :, axis]
        stride, offset = grid.stride[axis], grid.offset[axis]
        first = np.zeros_like(size)
        last = np.full_like(size, grid.points[axis] - 1)
        if self.inside:
            first = np.maximum(first, np.ceil((size / 2 - offset) / stride))
            last = np.minimum(last, np.floor((self.canvas[axis] - size / 2 - offset) / stride))
        nearest = np.rint(((low + high) / 2 - offset) / stride)
        centre = np.clip(nearest, first, np.maximum(first, last)) * stride + offset
        common = np.minimum(high, centre + size / 2) - np.maximum(low, centre - size / 2)
        return np.where(last >= first, np.maximum(common, 0), 0)


def anchors_of(model: Message, canvas: tuple[int, int]) -> Anchors | None:
    """Of a pipeline's model at an input of (height, width) pixels; None: it has none that are
    known here (CenterNet has no anchors at all)."""
    kind = model.WhichOneof("model")
    if kind == "ssd":
        grids = _grids(model.ssd.anchor_generator, canvas, stride=0)
        return Anchors(grids, canvas, inside=False) if grids else None
    if kind == "faster_rcnn":
        own = model.faster_rcnn
        stride = int(own.feature_extractor.first_stage_features_stride)
        grids = _grids(own.first_stage_anchor_generator, canvas, stride)
        # `_remove_invalid_anchors_and_predictions` of faster_rcnn_meta_arch.py
        return Anchors(grids, canvas, not own.clip_anchors_to_image) if grids else None
    return None


def _grids(generator: Message, canvas: tuple[int, int], stride: int) -> tuple[Grid, ...]:
    kind = generator.WhichOneof("anchor_generator_oneof")
    if kind == "multiscale_anchor_generator":
        # Faster R-CNN does not tell this generator the size of its images.
        return tuple(_multiscale(generator.multiscale_anchor_generator, canvas, bool(stride)))
    if kind == "ssd_anchor_generator":
        return tuple(_ssd(generator.ssd_anchor_generator, canvas))
    if kind == "grid_anchor_generator" and stride:
        return (_grid(generator.grid_anchor_generator, canvas, stride),)
    return ()


def _multiscale(config: Message, canvas: tuple[int, int], halved: bool) -> Iterator[Grid]:
    scales = [2 ** (i / config.scales_per_octave) for i in range(config.scales_per_octave)]
    for level in range(config.min_level, config.max_level + 1):
        stride = 2**level
        base = stride * config.anchor_scale
        yield Grid(
            sizes=_sizes(scales, config.aspect_ratios, (base, base)),
            stride=(stride, stride),
            offset=(_offset(canvas[0], stride, halved), _offset(canvas[1], stride, halved)),
            points=(ceil(canvas[0] / stride), ceil(canvas[1] / stride)),
        )


def _offset(side: int, stride: int, halved: bool) -> float:
    """multiscale_grid_anchor_generator.py: half a cell, unless the cells do not fit the side."""
    return stride / 2 if halved or side % stride == 0 else 0.0


def _ssd(config: Message, canvas: tuple[int, int]) -> Iterator[Grid]:
    """create_ssd_anchors of multiple_grid_anchor_generator.py."""
    shorter = min(canvas)
    base = (config.base_anchor_height * shorter, config.base_anchor_width * shorter)
    strides = list(zip(config.height_stride, config.width_stride, strict=False))
    offsets = list(zip(config.height_offset, config.width_offset, strict=False))
    for layer, shapes in enumerate(_ssd_shapes(config)):
        cell = 2 ** (_FINEST_SSD_LEVEL + layer)
        points = ceil(canvas[0] / cell), ceil(canvas[1] / cell)
        stride = strides[layer] if strides else (canvas[0] / points[0], canvas[1] / points[1])
        sizes = [(s / sqrt(r) * base[0], s * sqrt(r) * base[1]) for s, r in shapes]
        offset = offsets[layer] if offsets else (stride[0] / 2, stride[1] / 2)
        yield Grid(tuple(sizes), stride, offset, points)


def _ssd_shapes(config: Message) -> Iterator[list[tuple[float, float]]]:
    """(scale, aspect ratio) of each anchor at a point, layer after layer."""
    count, least, most = config.num_layers, config.min_scale, config.max_scale
    even = [least + (most - least) * i / max(1, count - 1) for i in range(count)]
    scales = [*(config.scales or even), 1.0]
    for layer, (scale, following) in enumerate(pairwise(scales[: count + 1])):
        if layer == 0 and config.reduce_boxes_in_lowest_layer:
            yield [(0.1, 1.0), (scale, 2.0), (scale, 0.5)]
            continue
        shapes = [(scale, ratio) for ratio in config.aspect_ratios]
        if (ratio := config.interpolated_scale_aspect_ratio) > 0:
            shapes.append((sqrt(scale * following), ratio))
        yield shapes


def _grid(config: Message, canvas: tuple[int, int], stride: int) -> Grid:
    return Grid(
        sizes=_sizes(config.scales, config.aspect_ratios, (config.height, config.width)),
        stride=(config.height_stride, config.width_stride),
        offset=(config.height_offset, config.width_offset),
        points=(ceil(canvas[0] / stride), ceil(canvas[1] / stride)),
    )


def _sizes(
    scales: Sequence[float], ratios: Sequence[float], base: tuple[float, float]
) -> tuple[tuple[float, float], ...]:
    """Heights and widths: for every aspect ratio (width / height) all scales."""
    return tuple((s / sqrt(r) * base[0], s * sqrt(r) * base[1]) for r in ratios for s in scales)
