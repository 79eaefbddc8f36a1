"""How a spec's global batch is divided over its replicas, and the message when it cannot be."""

from dataclasses import dataclass

from launcher.errors import SpecError
from launcher.planning.arithmetic import (
    LARGEST,
    Alternatives,
    NotWholeError,
    Split,
    alternatives,
    exact,
    largest_divisor,
    replica_count,
    scale_of,
    scaled_steps,
    split,
)
from launcher.planning.schedule import Facts
from launcher.planning.source import Source
from launcher.spec import JobSpec

_LOOKED_AT = 4096
"""Counts of an elastic range that are tried for one that divides the global batch."""

_LINEAR_RULE_HOLDS = 32
"""From 256 to 8,192 images a step the linear rule kept the accuracy (arXiv 1706.02677)."""


def divide(spec: JobSpec, source: Source, workers: int | None = None) -> Split:
    """Over `workers`; None: the spec's, and the most that divide when it gives a range.

    Raises SpecError with the nearest valid choices when the accumulation is not whole.
    """
    most = spec.cluster.most_workers if workers is None else workers
    fewest = spec.cluster.fewest_workers if workers is None else workers
    refused: SpecError | None = None
    for count in range(most, max(fewest, most - _LOOKED_AT) - 1, -1):
        try:
            return _divide(spec, source, count)
        except SpecError as e:
            refused = refused or e  # of the most: the others are its neighbours
    if refused is None:
        raise ValueError(f"{fewest} to {most} workers")
    raise refused


def _divide(spec: JobSpec, source: Source, workers: int) -> Split:
    cluster = spec.cluster
    replicas = replica_count(workers, cluster.gpus_per_worker)
    global_batch = spec.batch.global_batch or source.reference.batch
    if replicas > LARGEST:
        raise spec.error("cluster.workers", f"{replicas:,} replicas", f"At most {LARGEST:,}")
    per_replica = spec.batch.per_replica_batch or _default(spec, source, global_batch, replicas)
    try:
        return split(global_batch, replicas, per_replica)
    except NotWholeError:
        request = _Request(
            global_batch, replicas, per_replica, workers, cluster.gpus_per_worker > 0
        )
        place = "cluster.workers" if global_batch < replicas else "batch.global_batch"
        what, remedy = _refusal(request, source)
        raise spec.error(place, what, remedy) from None


@dataclass(frozen=True)
class _Request:
    global_batch: int
    replicas: int
    per_replica_batch: int
    workers: int
    on_gpus: bool

    @property
    def at_once(self) -> int:
        """Images of one micro-step over all replicas."""
        return self.replicas * self.per_replica_batch


def _default(spec: JobSpec, source: Source, global_batch: int, replicas: int) -> int:
    """What one replica holds when the spec does not say it."""
    share, rest = divmod(global_batch, replicas)
    facts = source.file_facts
    if source.file is None or facts is None or _is_published(source, facts):
        per_core = source.images_per_core or 1
        # A share that is no whole number is refused by the caller, with this in its message.
        return (
            min(per_core, max(1, share)) if rest or not share else largest_divisor(share, per_core)
        )
    own, own_rest = divmod(facts.batch, replicas)
    if own_rest or not own:
        raise spec.error(
            "batch.per_replica_batch",
            f"is not set, and batch_size {facts.batch} of {source.file} is no "
            f"multiple of {replicas:,} replicas",
            "Set batch.per_replica_batch to the images that one accelerator's memory holds",
        )
    return min(own, share) if share and not rest else own


def _is_published(source: Source, facts: Facts) -> bool:
    """A batch that was written for all cores of a TPU says nothing about one accelerator."""
    published = source.recipe_facts
    return bool(source.images_per_core and published and facts.batch == published.batch)


def _refusal(request: _Request, source: Source) -> tuple[str, str]:
    """What is wrong, and every way out with one change."""
    product = (
        f"replicas ({request.replicas:,}) x per_replica_batch ({request.per_replica_batch:,})"
        f" = {request.at_once:,}"
    )
    around = alternatives(request.global_batch, request.replicas, request.per_replica_batch)
    ways = [_by_replicas(request, around), _by_per_replica_batch(request, around)]
    if request.global_batch < request.at_once:
        what = f"global batch {request.global_batch:,} is less than {product}"
        ways.append(_by_linear_rule(request, source))
    else:
        what = (
            f"global batch {request.global_batch:,} is not a multiple of {product}: "
            f"accumulation would be {request.global_batch / request.at_once:.4g} steps"
        )
        ways.insert(0, _by_accumulation(request, around))
    return what, "Nearest valid: " + "; or ".join(way for way in ways if way)


def _by_accumulation(request: _Request, around: Alternatives) -> str:
    choices = [
        f"{batch} ({batch // request.at_once} accumulation steps)"
        for batch in around.global_batches
    ]
    return f"batch.global_batch {_either(choices)}"


def _by_replicas(request: _Request, around: Alternatives) -> str:
    *fewer, most = around.replicas or (0,)
    if not most:
        # per_replica_batch itself does not divide the batch: with 1 image each, something does.
        count = largest_divisor(request.global_batch, request.replicas)
        return "" if count == request.replicas else f"{_counted(count, request)} of 1 image each"
    choices = [*(f"{count:,}" for count in fewer), _counted(most, request)]
    return f"{_either(choices)} instead of {request.replicas:,}"


def _counted(count: int, request: _Request) -> str:
    """2 GPUs, 1 worker."""
    if count == 1:
        return "1 GPU" if request.on_gpus else "1 worker"
    if not request.on_gpus:
        return f"{count:,} workers"
    return f"{count:,} GPUs" if request.workers == 1 else f"{count:,} GPUs in all"


def _by_per_replica_batch(request: _Request, around: Alternatives) -> str:
    if request.global_batch < request.replicas:
        return ""
    by_global: dict[int, list[str]] = {}
    for batch, for_global in around.per_replica_batches:
        by_global.setdefault(for_global, []).append(str(batch))
    choices = [
        _either(batches)
        + ("" if total == request.global_batch else f" with batch.global_batch {total}")
        for total, batches in by_global.items()
    ]
    return f"batch.per_replica_batch {_either(choices)}" if choices else ""


def _by_linear_rule(request: _Request, source: Source) -> str:
    """A larger batch, and what it would do to the rate."""
    reference, larger = source.reference, request.at_once
    if larger > LARGEST:
        return ""
    scale = scale_of(larger, reference.batch)
    rate = float(exact(reference.learning_rate) * scale)
    steps = scaled_steps(reference.total_steps, scale)
    text = (
        f"batch.global_batch {larger}, for which linear scaling would make the learning rate "
        f"{reference.learning_rate:g} x {float(scale):g} = {rate:g} over {steps:,} steps"
    )
    return f"{text}, far beyond what was shown to train" if scale > _LINEAR_RULE_HOLDS else text


def _either(choices: list[str]) -> str:
    return " or ".join(choices)
