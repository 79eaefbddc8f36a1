"""The size that an image has when the model sees it (`image_resizer` of a pipeline.config).

As `core/preprocessor.py` of the OD API computes it: fixed_shape_resizer stretches,
keep_aspect_ratio_resizer brings the shorter side to min_dimension unless the longer one would pass
max_dimension, and may pad right and below. Other resizers are rare, and not followed.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from launcher.odapi.protos import Message

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Resizer:
    """`fixed`: (height, width) that every image is stretched to; else the two dimensions."""

    fixed: tuple[int, int] | None
    least: int = 0
    most: int = 0
    pads: bool = False

    @property
    def canvas(self) -> tuple[int, int] | None:
        """Height and width of every input, None where they differ from image to image."""
        if self.fixed:
            return self.fixed
        return (self.most, self.most) if self.pads else None

    def resized(self, height: Array, width: Array) -> tuple[Array, Array]:
        """Height and width of the image's content, padding left out."""
        if self.fixed:
            return np.full_like(height, self.fixed[0]), np.full_like(width, self.fixed[1])
        shorter, longer = np.minimum(height, width), np.maximum(height, width)
        scale = self.least / shorter
        scale = np.where(scale * longer > self.most, self.most / longer, scale)
        return np.rint(height * scale), np.rint(width * scale)

    def inputs(self, height: Array, width: Array) -> tuple[Array, Array]:
        """Height and width of what the model gets, padding included."""
        if self.canvas is None:
            return self.resized(height, width)
        return np.full_like(height, self.canvas[0]), np.full_like(width, self.canvas[1])

    def __str__(self) -> str:
        if self.fixed:
            return f"{self.fixed[1]} x {self.fixed[0]}"
        if self.pads and self.least == self.most:
            return f"{self.most} x {self.most}"
        return f"{self.least} to {self.most}"


def resizer_of(model: Message) -> Resizer | None:
    """Of a pipeline's model; None where it is of another kind."""
    part = getattr(model, model.WhichOneof("model"))
    if "image_resizer" not in part.DESCRIPTOR.fields_by_name:
        return None
    kind = part.image_resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        fixed = part.image_resizer.fixed_shape_resizer
        return Resizer((int(fixed.height), int(fixed.width)))
    if kind == "keep_aspect_ratio_resizer":
        keep = part.image_resizer.keep_aspect_ratio_resizer
        return Resizer(
            None, int(keep.min_dimension), int(keep.max_dimension), bool(keep.pad_to_max_dimension)
        )
    return None
