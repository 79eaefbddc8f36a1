"""Over how many images batch normalization takes its statistics, and whether that is enough."""

from dataclasses import dataclass
from enum import StrEnum

from launcher.odapi.protos import Message
from launcher.planning.arithmetic import Split
from launcher.planning.effective import can_synchronise, is_synchronised
from launcher.planning.source import Source

_ENOUGH = 8
"""Images that are enough for a model without a published number: EfficientDet's authors advise 8.

Measured at one global batch: 2 images gave mAP 0.03, 8 gave 0.34, 32 gave 0.42."""


class Reach(StrEnum):
    """Which layers train.sync_batch_norm can synchronise in the OD API."""

    ALL = "all"
    HEADS = "heads"  # an EfficientNet backbone synchronises on TPUs only
    NONE = "none"  # CenterNet's layers are built without hyperparams
    ALWAYS = "always"  # the hourglass of CenterNet synchronises whatever one asks


@dataclass(frozen=True)
class Norm:
    """`images` are what one set of statistics is taken over; `wanted` is what the recipe had.

    Where only a part of the layers is synchronised, `images` are those of the others.
    """

    trained: bool
    reach: Reach
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
    """Of the effective model."""
    reach = _reach(model)
    synchronised = reach is Reach.ALWAYS or is_synchronised(model)
    together = synchronised and reach is not Reach.HEADS
    return Norm(
        trained=_is_trained(model),
        reach=reach,
        synchronised=synchronised,
        images=split.per_replica_batch * (split.replicas if together else 1),
        wanted=source.images_per_core or _ENOUGH,
    )


def _reach(model: Message) -> Reach:
    if model.WhichOneof("model") == "center_net":
        hourglass = model.center_net.feature_extractor.type.startswith("hourglass")
        return Reach.ALWAYS if hourglass else Reach.NONE
    if not can_synchronise(model):
        return Reach.NONE
    return Reach.HEADS if _is_efficientnet(model) else Reach.ALL


def _is_trained(model: Message) -> bool:
    """Frozen statistics do not depend on the batch."""
    kind = model.WhichOneof("model")
    if kind == "faster_rcnn":
        return bool(model.faster_rcnn.feature_extractor.batch_norm_trainable)
    if kind == "ssd":
        # The OD API's freeze does not reach an EfficientNet backbone.
        return _is_efficientnet(model) or not model.ssd.freeze_batchnorm
    return True


def _is_efficientnet(model: Message) -> bool:
    return model.WhichOneof("model") == "ssd" and "efficientnet" in model.ssd.feature_extractor.type
