"""Over how many images batch normalization takes its statistics, and whether that is enough."""

from dataclasses import dataclass

from launcher.odapi.protos import Message
from launcher.planning.arithmetic import Split
from launcher.planning.effective import is_synchronised
from launcher.planning.source import Source

_ENOUGH = 8
"""Images that are enough for a model without a published number: EfficientDet's authors advise 8
at least; measured here at 8 images mAP 0.34, at 32 0.42, at 2 0.03 (docs/odapi.md)."""


@dataclass(frozen=True)
class Norm:
    """`images` are what one set of statistics is taken over; `wanted` what the recipe had."""

    trained: bool
    synchronised: bool
    images: int
    wanted: int

    @property
    def too_few(self) -> bool:
        return self.trained and self.images < self.wanted


def wants_sync(asked: bool | str, source: Source, split: Split) -> bool | None:
    """Whether layers are to be synchronised; None leaves them as the model has them."""
    if isinstance(asked, bool):
        return asked
    per_core = source.images_per_core
    few = per_core is not None and split.per_replica_batch < per_core
    return True if few and split.replicas > 1 else None


def norm_of(model: Message, source: Source, split: Split) -> Norm:
    synchronised = is_synchronised(model)
    images = split.per_replica_batch * (split.replicas if synchronised else 1)
    return Norm(_is_trained(model), synchronised, images, source.images_per_core or _ENOUGH)


def _is_trained(model: Message) -> bool:
    """Frozen statistics do not depend on the batch."""
    kind = model.WhichOneof("model")
    if kind == "faster_rcnn":
        return bool(model.faster_rcnn.feature_extractor.batch_norm_trainable)
    if kind == "ssd":
        # The OD API's freeze does not reach an EfficientNet backbone.
        efficientnet = "efficientnet" in model.ssd.feature_extractor.type
        return efficientnet or not model.ssd.freeze_batchnorm
    return True
