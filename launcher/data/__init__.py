"""Data sets as records: COCO files converted, and the synthetic shapes."""

from launcher.data.shapes import ShapesReport, ensure_shapes, make_shapes

__all__ = ["ShapesReport", "ensure_shapes", "make_shapes"]
