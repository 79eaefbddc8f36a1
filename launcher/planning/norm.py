"""Which normalization a run uses, over how many images it takes its moments, and what that costs.

Accumulation gives a step its global batch, not the moments of batch normalization, which are those
of one micro-batch. What helps, in this order: moments over all replicas, the frozen statistics of
a trained checkpoint, the kind that kept most of the mAP when it was measured (norm_evidence.py).
"""

from dataclasses import dataclass

from launcher.errors import SpecError
from launcher.odapi.protos import Message
from launcher.planning.arithmetic import Split
from launcher.planning.data import FineTune
from launcher.planning.effective import is_hourglass, is_synchronised
from launcher.planning.norm_evidence import REFERENCE_IMAGES, best, effect
from launcher.planning.source import Source
from launcher.spec import JobSpec

ENOUGH = 8
"""Images that are enough where no recipe says more; EfficientDet's authors advise as many."""


@dataclass(frozen=True)
class Norm:
    """`images` are what one set of moments is taken over; `wanted` is what the recipe had."""

    kind: str  # batch | renorm | moving | group | frozen
    trained: bool  # False: the model's own file has its statistics frozen
    synchronised: bool
    images: int
    wanted: int
    why: str
    cost: str  # what is to be expected of it; empty where it is the recipe's

    @property
    def has_moments(self) -> bool:
        """Whether anything is taken over the images of a batch."""
        return self.trained and self.kind in ("batch", "renorm", "moving")

    @property
    def few(self) -> bool:
        """Fewer than the recipe had, and than make no difference any more."""
        return self.trained and self.images < _enough(self.wanted)

    @property
    def too_few(self) -> bool:
        return self.few and self.kind == "batch"


def wants_sync(spec: JobSpec, source: Source, split: Split) -> bool | None:
    """Whether layers are to be synchronised; None leaves them as the model has them."""
    asked = spec.train.sync_batch_norm
    if isinstance(asked, bool):
        return asked
    if spec.train.norm in ("group", "frozen") or split.replicas == 1:
        return None
    return True if _alone(spec, split) < _enough(_wanted(source)) else None


def norm_of(
    model: Message,
    spec: JobSpec,
    source: Source,
    split: Split,
    fine_tune: FineTune | None,
    sync: bool | None,
) -> Norm:
    """Of the effective model; `sync` as `wants_sync` says."""
    own = is_synchronised(model) if sync is None else sync
    # The hourglass is built of synchronised layers, whatever one asks.
    synchronised = split.replicas > 1 and (own or is_hourglass(model))
    images = _alone(spec, split) * (split.replicas if synchronised else 1)
    wanted = _wanted(source)
    trained = is_trained(model)
    if not trained:
        _refuse_statistics_of(spec, source)
    asked = spec.train.norm
    if asked == "auto":
        steps = split.accumulation_steps
        kind, why = _chosen(images, steps, wanted, trained, fine_tune)
    else:
        kind, why = asked, "train.norm"
    if kind in ("group", "frozen"):
        synchronised = False
        if asked == "auto" and spec.train.sync_batch_norm is True:
            why += "; train.sync_batch_norm has nothing to share then"
    return Norm(
        kind=kind,
        trained=trained,
        synchronised=synchronised,
        images=images,
        wanted=wanted,
        why=why,
        cost=_cost(kind, images, split.accumulation_steps, wanted, trained),
    )


def _chosen(
    images: int, steps: int, wanted: int, trained: bool, fine_tune: FineTune | None
) -> tuple[str, str]:
    """The kind that train.norm: auto stands for, and why."""
    if not trained:
        return "batch", "the model's own file has its statistics frozen"
    if images >= _enough(wanted):
        return "batch", f"{images:,} images a statistic, {_enough(wanted):,} are enough"
    few = f"{images:,} images a statistic, {wanted:,} wanted"
    if fine_tune is not None and fine_tune.kind == "full":
        return "frozen", f"{few}; the checkpoint's statistics are those of all layers"
    return best_kind(images, steps, wanted), f"{few}; the best found (docs/recipes.md)"


def best_kind(images: int, steps: int, wanted: int) -> str:
    """What keeps most of the mAP over `images` a micro-batch, of the kinds that start from nothing.

    `moving` averages over the `steps` micro-batches of a step: it helps where those have enough.
    """
    return best(images).kind if moves_over_enough(images, steps, wanted) else "renorm"


def moves_over_enough(images: int, steps: int, wanted: int) -> bool:
    """Over one micro-batch `moving` is batch norm."""
    return images * steps >= _enough(wanted)


def _cost(kind: str, images: int, steps: int, wanted: int, trained: bool) -> str:
    if kind == "moving" and not moves_over_enough(images, steps, wanted):
        measured = effect("batch", images * steps)
    else:
        measured = effect(kind, images)
    enough = kind != "group" and images >= _enough(wanted)
    return "" if not trained or enough or measured is None else measured.text


def _alone(spec: JobSpec, split: Split) -> int:
    """Images of one set of moments in one replica. Raises SpecError."""
    images = spec.train.statistics_images
    if images is None:
        return split.per_replica_batch
    if split.per_replica_batch % images:
        raise spec.error(
            "train.statistics_images",
            f"{images:,} does not divide the {split.per_replica_batch:,} images of a replica",
            f"Use a divisor of {split.per_replica_batch:,}, or remove the key",
        )
    return images


def _wanted(source: Source) -> int:
    return source.images_per_core or ENOUGH


def _enough(wanted: int) -> int:
    """What more would bring was not measured; no recipe but one had more."""
    return min(wanted, REFERENCE_IMAGES)


def _refuse_statistics_of(spec: JobSpec, source: Source) -> None:
    """Raises SpecError for what is asked of statistics that the model's own file holds still."""
    kind = source.pipeline.model.WhichOneof("model")
    field = "freeze_batchnorm" if kind == "ssd" else "feature_extractor.batch_norm_trainable"
    still = f"the model's statistics stand still ({source.place('model', kind, *field.split('.'))})"
    problems = []
    if spec.train.sync_batch_norm is True:
        what = f"{still}: none to share"
        problems.append(spec.problem("train.sync_batch_norm", what, "Remove the key"))
    if spec.train.statistics_images is not None:
        what = f"{still}: none are taken"
        problems.append(spec.problem("train.statistics_images", what, "Remove the key"))
    if problems:
        raise SpecError(problems)


def is_trained(model: Message) -> bool:
    """Frozen statistics do not depend on the batch."""
    kind = model.WhichOneof("model")
    if kind == "faster_rcnn":
        return bool(model.faster_rcnn.feature_extractor.batch_norm_trainable)
    if kind == "ssd":
        # The OD API's freeze does not reach an EfficientNet backbone.
        efficientnet = "efficientnet" in model.ssd.feature_extractor.type
        return efficientnet or not model.ssd.freeze_batchnorm
    return True
