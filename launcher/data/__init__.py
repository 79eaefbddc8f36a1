"""Data sets as records: COCO files converted, and the synthetic shapes.

Importing this loads neither Pillow nor numpy: the functions do, and raise MissingExtraError.
"""

from launcher.data.conversion import ConvertReport, convert
from launcher.data.shapes import ShapesReport, ensure_shapes, make_shapes

__all__ = ["ConvertReport", "ShapesReport", "convert", "ensure_shapes", "make_shapes"]
