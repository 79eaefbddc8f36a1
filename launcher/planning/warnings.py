"""What a person should know about a plan although it can run."""

from collections.abc import Iterator

from launcher.planning.arithmetic import Split, scale_of
from launcher.planning.data import DataPlan, FineTune
from launcher.planning.departures import millions, rate_rule, times
from launcher.planning.effective import is_hourglass
from launcher.planning.norm import Norm
from launcher.planning.schedule import schedule_end
from launcher.planning.source import Source


def warnings_of(
    source: Source,
    split: Split,
    data: DataPlan,
    fine_tune: FineTune | None,
    norm: Norm,
    *,
    own_target: bool,
    several_divisors: str,
    loss_normalizer: str,
    recompute: bool,
    precision: str,
) -> tuple[str, ...]:
    return (
        *(() if recompute else _recompute(source, split, norm)),
        *_norm(source, split, norm),
        *(_divisors(split, several_divisors) if loss_normalizer == "global" else ()),
        *_adam(source, split),
        *_weights(source, data, fine_tune),
        *([] if own_target else _dataset(source, data)),
        *_overridden(source),
        *_own_end(source),
        *_precision(precision),
    )


def _norm(source: Source, split: Split, norm: Norm) -> Iterator[str]:
    if norm.kind != "batch":
        if norm.cost:
            yield f"normalization is {norm.kind} ({norm.why}): {norm.cost}"
        return
    if not norm.too_few:
        return
    whose = "the recipe" if source.images_per_core else "a sound choice"
    text = (
        f"batch normalization over {norm.images} images, {norm.wanted} in {whose}: gradient "
        f"accumulation does not mend that ({norm.cost})"
    )
    if split.replicas > 1 and not norm.synchronised:
        text += ". train.sync_batch_norm: true would take them over all replicas"
    else:
        text += ". More images per replica or train.norm: auto are the remedy"
    yield text


def _recompute(source: Source, split: Split, norm: Norm) -> Iterator[str]:
    """More images a replica come before anything that changes the model."""
    model = source.pipeline.model
    if not is_hourglass(model) and norm.few and split.accumulation_steps > 1:
        yield (
            "more images a replica may fit with train.recompute: true, which computes the "
            "backbone's activations twice and keeps few (EfficientDet-D0, 4 images of 256 px: "
            "265 MB in place of 735, measured on a CPU): try it with a larger "
            "batch.per_replica_batch"
        )


def _divisors(split: Split, several: str) -> Iterator[str]:
    micro_batches = split.replicas * split.accumulation_steps
    if several and micro_batches > 1:
        yield (
            f"the loss is divided within each of the {micro_batches:,} micro-batches of "
            f"{split.per_replica_batch:,} images, as the OD API does, and not over the global "
            f"batch: in this model {several} have a divisor of their own. Images with few objects "
            "weigh too much; more images per replica lessen it"
        )


def _precision(precision: str) -> Iterator[str]:
    """Figures of bench/precision.py."""
    if precision != "float32":
        yield (
            f"{precision} has been trained with a small detector on a CPU only (mAP 0.783, float32 "
            "0.772, one seed): no published mAP was reached with it, and on a CPU it is slower"
        )


def _adam(source: Source, split: Split) -> Iterator[str]:
    scale = scale_of(split.global_batch, source.reference.batch)
    if source.reference.optimizer == "adam" and scale != 1:
        yield (
            f"the linear rule is applied to Adam (x {float(scale):g}), where it is less "
            "established than for momentum: watch the loss, or keep the recipe's global batch of "
            f"{source.reference.batch}"
        )


def _weights(source: Source, data: DataPlan, fine_tune: FineTune | None) -> Iterator[str]:
    published = source.recipe_facts or source.reference
    if fine_tune is not None or not published.start:
        return
    if data.is_coco:
        yield (
            "training starts from random weights, the published mAP from a "
            f"{published.start} checkpoint: set train.fine_tune_checkpoint and fine_tune_type"
        )
    else:
        yield (
            "training starts from random weights: train.fine_tune_checkpoint needs far fewer images"
        )


def _dataset(source: Source, data: DataPlan) -> Iterator[str]:
    published = source.recipe.published_map if source.recipe else None
    if published is not None and data.unlike_coco:
        yield (
            f"{data.unlike_coco}: the published mAP {published:g} is no target of that. "
            "data.dataset: custom compares with none, evaluate.target_map names one"
        )


def _overridden(source: Source) -> Iterator[str]:
    """Where the user's own file departs from the published recipe, with the arithmetic."""
    own, recipe = source.file_facts, source.recipe_facts
    if source.file is None or own is None or recipe is None or source.recipe is None:
        return
    name = source.recipe.name
    fate = "the recipe's is used" if source.follows_recipe else "kept, as lr_scaling is none"
    rule = rate_rule(own.batch, recipe)
    off = rule.off(own.learning_rate)
    if own.optimizer != recipe.optimizer:
        yield f"your file's optimizer is {own.optimizer}, {name}'s is {recipe.optimizer}: {fate}"
    elif off != 1:
        yield (
            f"your file's rate {own.learning_rate:g} at batch {own.batch} is {times(off)} "
            f"the linear rule's {rule.high if off > 1 else rule.low:g} ({name}: "
            f"{recipe.learning_rate:g} at {recipe.batch}): {fate}"
        )
    if own.images != recipe.images:
        yield (
            f"your file's {own.total_steps:,} steps x {own.batch} images = "
            f"{millions(own.images)} of {name}'s {millions(recipe.images)} images: {fate}"
        )


def _own_end(source: Source) -> Iterator[str]:
    """A file in which num_steps and the schedule disagree."""
    config = source.pipeline.train_config
    end = schedule_end(config)
    if source.file and not source.follows_recipe and end not in (None, config.num_steps):
        yield (
            f"your file's num_steps is {config.num_steps:,} but its schedule ends at {end:,}: "
            f"both are {source.reference.total_steps:,} here, before scaling, because the rate "
            "is 0 past the schedule's end"
        )
