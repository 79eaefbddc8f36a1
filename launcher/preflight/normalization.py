"""batch-norm: images that one set of moments is taken over, and the best remedy on these devices.

The order of the remedies is that of docs/recipes.md, "Small micro-batches": more images in a
replica, moments over all replicas, the statistics of a trained checkpoint, moments over the step.
"""

from collections.abc import Iterator

from launcher.contract import pattern_matches
from launcher.planning.effective import is_synchronised
from launcher.planning.norm import Norm, best_kind, moves_over_enough
from launcher.preflight.evidence import FROZEN_FROM_NOTHING, norm_cost
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "batch-norm"

_NOISE = 2
"""Images over which batch norm was measured to fail."""
_KEY = "train.norm"


def check(subject: Subject) -> Iterator[Finding]:
    norm = subject.plan.norm
    if norm.too_few or _moves_over_one(subject):
        yield _too_few(subject)
    elif norm.kind != "batch" and norm.few:
        yield _replaced(subject)
    yield from _frozen_from_nothing(subject)
    yield from _backbone_alone(subject)
    yield from _backbone_not_frozen(subject)


def _moves_over_one(subject: Subject) -> bool:
    """Moments of the last step are those of its one micro-batch: `moving` is batch norm then."""
    norm = subject.plan.norm
    steps = subject.plan.accumulation_steps
    return (
        norm.few
        and norm.kind == "moving"
        and not moves_over_enough(norm.images, steps, norm.wanted)
    )


def _averaged_over(subject: Subject) -> int:
    """Images that a moment comes from: those of the step's micro-batches, where it moves."""
    plan, norm = subject.plan, subject.plan.norm
    return norm.images * (plan.accumulation_steps if norm.kind == "moving" else 1)


def _too_few(subject: Subject) -> Finding:
    """Batch normalization as published, over fewer images than it was tuned on."""
    norm = subject.plan.norm
    noise = _averaged_over(subject) <= _NOISE
    moving = f"; train.norm: moving averages over the {_averaged_over(subject):,} images of a step"
    return Finding(
        name=NAME,
        severity=Severity.ERROR if noise else Severity.WARNING,
        place=subject.place_in_spec(_KEY),
        evidence=_counted(subject)
        + (moving if norm.kind == "moving" else ": accumulation does not mend that"),
        cost=norm_cost("batch", _averaged_over(subject)),
        remedy=f"{_first_remedies(subject)}. Else {_KEY}: {_kind(subject)}",
        edits=_edits(subject),
    )


def _replaced(subject: Subject) -> Finding:
    """Another kind stands where batch normalization would be noise: what remains of the cost."""
    norm = subject.plan.norm
    stated = subject.spec.train.norm != "auto"
    return Finding(
        name=NAME,
        severity=Severity.INFO if stated else Severity.WARNING,
        place=subject.place_in_spec(_KEY),
        evidence=f"{_counted(subject)}. This run normalizes with {_KEY}: {norm.kind}",
        cost=_cost_of(norm),
        remedy=f"{_first_remedies(subject)}. Else keep {_KEY}: {norm.kind}",
        edits=(f"{_KEY}={norm.kind}",),
    )


def _cost_of(norm: Norm) -> Cost:
    """Beside what the same images cost as batch norm."""
    cost, batch = norm_cost(norm.kind, norm.images), norm_cost("batch", norm.images)
    return Cost(
        f"{cost.text}; batch norm over so few keeps {100 * (1 - batch.lost):.0f} % of that",
        cost.lost,
    )


def _counted(subject: Subject) -> str:
    """2 images a statistic, 4 in efficientdet_d3's."""
    norm = subject.plan.norm
    whose = f"in {subject.recipe}" if subject.source.images_per_core else "advised"
    over = " of all replicas" if norm.synchronised else ""
    return f"{norm.images:,} images a statistic{over}, {norm.wanted:,} {whose}"


def _first_remedies(subject: Subject) -> str:
    """Those that leave the model as it was published."""
    plan, norm = subject.plan, subject.plan.norm
    ways = []
    if plan.accumulation_steps > 1:
        more = f"batch.per_replica_batch: {norm.wanted} where memory allows"
        recompute = not subject.spec.train.recompute and _can_recompute(subject)
        ways.append(more + (", with train.recompute: true if need be" if recompute else ""))
    if subject.spec.train.sync_batch_norm is False and plan.replicas > 1:
        ways.append("train.sync_batch_norm: auto, over all replicas")
    elif not norm.synchronised and norm.kind in ("batch", "moving", "renorm"):
        devices = -(-norm.wanted // plan.per_replica_batch)
        ways.append(f"{devices} GPUs, over which moments are shared")
    return f"First {', or '.join(ways)}" if ways else "First more images in a replica"


def _can_recompute(subject: Subject) -> bool:
    extractor = subject.effective.model.center_net.feature_extractor.type
    return not extractor.startswith("hourglass")


def _kind(subject: Subject) -> str:
    """What train.norm: auto would be for so few images (planning/norm.py)."""
    plan, norm = subject.plan, subject.plan.norm
    if plan.fine_tune is not None and plan.fine_tune.kind == "full":
        return "frozen"
    steps, reference = plan.accumulation_steps, subject.reference
    if reference and subject.spec.batch.global_batch is None:  # which global-batch will ask for
        steps = max(steps, reference.batch // (plan.replicas * plan.per_replica_batch))
    return best_kind(norm.images, steps, norm.wanted)


def _edits(subject: Subject) -> tuple[str, ...]:
    plan, norm = subject.plan, subject.plan.norm
    shared = plan.replicas * norm.images
    if not norm.synchronised and plan.replicas > 1 and shared >= norm.wanted:
        return ("train.sync_batch_norm=auto",)
    return (f"{_KEY}={_kind(subject)}",)


def _frozen_from_nothing(subject: Subject) -> Iterator[Finding]:
    """What the spec freezes must have been trained; of the model's file fine_tune.py says it."""
    plan, asked = subject.plan, subject.spec.train.norm == "frozen"
    if plan.fine_tune is not None:
        if asked and plan.fine_tune.kind != "full":
            yield _frozen_in_part(subject, plan.fine_tune.kind)
        return
    if not (asked or _freezes_backbone(plan.frozen)):
        return
    key = _KEY if asked else "train.freeze"
    yield Finding(
        name=NAME,
        severity=Severity.ERROR,
        place=subject.place_in_spec(key),
        evidence=(
            f"{f'{_KEY}: frozen' if asked else 'the backbone is frozen'}, and no checkpoint is "
            "named: it stays as it was drawn at random"
        ),
        cost=FROZEN_FROM_NOTHING,
        remedy=f"{_CHECKPOINT} and fine_tune_type, or {key}: {'auto' if asked else 'nothing'}",
        edits=(f"{_KEY}=auto",) if asked else (),
    )


def _frozen_in_part(subject: Subject, kind: str) -> Finding:
    return Finding(
        name=NAME,
        severity=Severity.WARNING,
        place=subject.place_in_spec(_KEY),
        evidence=(
            f"{_KEY}: frozen, and a {kind} checkpoint has the statistics of a part of the layers: "
            "those of the others stay at 0 and 1"
        ),
        cost=Cost("no figure is known: those layers do not normalize", 0.3),
        remedy=f"{_KEY}: auto, or a full checkpoint",
        edits=(f"{_KEY}=auto",),
    )


_CHECKPOINT = "train.fine_tune_checkpoint"


def _freezes_backbone(patterns: tuple[str, ...]) -> bool:
    """By the part of a name that all models have; what Keras adds, the worker knows."""
    return any(
        pattern.lstrip("^(.*").startswith("backbone") or pattern_matches(pattern, _A_KERNEL)
        for pattern in patterns
        if not pattern.startswith("not ")
    )


_A_KERNEL = "backbone/?/kernel"
"""Of a layer whose own name no pattern knows."""


def _backbone_alone(subject: Subject) -> Iterator[Finding]:
    """The OD API's sync_batch_norm does not reach an EfficientNet; ours does."""
    file = subject.file
    if file is None or not _is_efficientdet(subject) or not is_synchronised(file.model):
        return
    yield Finding(
        name=NAME,
        severity=Severity.INFO,
        place=subject.place_in_file("model", "sync_batch_norm"),
        evidence="the OD API synchronises BiFPN and heads, its EfficientNet backbone only on TPUs",
        cost=Cost("no figure is known"),
        remedy="Nothing: here all layers are, the backbone's too (train.sync_batch_norm)",
    )


def _backbone_not_frozen(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if file is None or not _is_efficientdet(subject) or not file.model.ssd.freeze_batchnorm:
        return
    yield Finding(
        name=NAME,
        severity=Severity.WARNING,
        place=subject.place_in_file("model", "freeze_batchnorm"),
        evidence="freeze_batchnorm does not reach the EfficientNet backbone: its statistics move",
        cost=Cost("no figure is known", 0.05),
        remedy="train.norm: frozen with a full checkpoint freezes all layers",
    )


def _is_efficientdet(subject: Subject) -> bool:
    return "efficientnet" in subject.source.pipeline.model.ssd.feature_extractor.type
