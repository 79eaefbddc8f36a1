"""What differs between a run and the spec that is to continue it, and whether that is safe. Pure.

A change is safe when every step after it computes what it would have computed without it: how often
something is saved or scored, how patient the supervisor is, where the steps are computed. The other
fields are what is trained; a run that changed them half-way is neither the one nor the other, and
its results could not be compared with any.

A new division of the same global batch is let through with a word of warning, where normalization
of the same kind has its moments over another number of images by it.

Fields whose value planning works out are judged by that value: `norm: auto` and `norm: batch` are
the same where auto means batch. A pipeline.config is judged by its contents.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.odapi.protos import Message
from launcher.planning.norm import is_trained
from launcher.spec import JobSpec, plain

SAFE = (
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.recompute",
    "evaluate",
    "restart",
    "data.max_bad_records",
    "data.train_images",
    "data.val_images",
    "batch.per_replica_batch",
    "cluster",
    "backend",
)
"""Fields, or whole sections, that --allow-change may change. The division among workers is among
them because the global batch, which the derived values below hold, stays."""

_DIVISION = ("batch.per_replica_batch", "cluster")

_IDENTITY = ("apiVersion", "name", "run_dir")
"""Say where the run is, not what it is: a folder may have been moved."""

_WHY = {
    "recipe": "the checkpoints are of the run's model",
    "pipeline_config": "the checkpoints are of the run's model and schedule",
    "data.num_classes": "the checkpoints are of the run's model",
    "data": "the position in the records and the scores belong to the run's data",
    "batch": "learning rate and number of steps belong to the run's global batch",
    "train.seed": "the order of the records belongs to the run's seed",
    "train.fine_tune_checkpoint": "the run has begun with its own weights",
    "train.fine_tune_type": "the run has begun with its own weights",
}
_WHY_ELSE = "it would change what a step computes in the middle of the run"

_WORKED_OUT = {
    "batch.global_batch": "global_batch",
    "batch.per_replica_batch": "per_replica_batch",
    "train.norm": "norm",
    "train.statistics_images": "statistics_images",
    "data.train_images": "train_images",
    "data.val_images": "val_images",
}
"""Fields and the value of `worker_config` that planning makes of them."""

_HELD = {
    "batch.global_batch": "global_batch",
    "train.norm": "norm",
    "train.statistics_images": "statistics_images",
    "train.loss_normalizer": "loss_normalizer",
    "batch.reference_config": "loss_images",
    "batch.lr_scaling": "learning_rate",
    "pipeline_config": "total_steps",
}
"""Values of `worker_config` that must stay, whatever made them change, and the field to blame."""

_SHOWN = 5
"""Differences of two pipeline.configs that are told; one changed block has many."""


@dataclass(frozen=True)
class Planned:
    """What a run is: its spec, the values of its `worker_config`, its effective pipeline."""

    spec: JobSpec
    config: Mapping[str, Any]
    pipeline: Message


@dataclass(frozen=True)
class Change:
    """`field` dotted as in a spec, or a path in the pipeline.config. None: not set."""

    field: str
    old: Any
    new: Any
    unsafe: str = ""
    """Why a run cannot be continued with it; empty: it can, when that is asked for."""
    note: str = ""
    """What it changes all the same."""

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"is {_text(self.new)}, the run has {_text(self.old)}{note}"


def changes(before: Planned, after: Planned) -> list[Change]:
    """All that differs, in the order of the spec. Empty: the run goes on as it was."""
    in_pipeline = list(_pipeline_changes(before.pipeline, after.pipeline))
    found = list(_spec_changes(before, after, same_model=not in_pipeline))
    if not any(change.unsafe for change in found):
        found += _held_changes(before.config, after.config, {c.field for c in found})
    if not any(change.unsafe for change in found):  # else they follow from those
        found += in_pipeline[:_SHOWN]
    return _with_moments(found, before, after)


def _with_moments(found: list[Change], before: Planned, after: Planned) -> list[Change]:
    """The first change of the division says so when moments are of more or fewer images by it."""
    old, new = _images_of_moments(before), _images_of_moments(after)
    divides = [i for i, change in enumerate(found) if _below(change.field, _DIVISION)]
    if old is None or new is None or old == new or not divides or any(c.unsafe for c in found):
        return found
    note = f"moments of normalization are of {new:,} images by it, the run's are of {old:,}"
    first = divides[0]
    return [*found[:first], replace(found[first], note=note), *found[first + 1 :]]


def _images_of_moments(planned: Planned) -> int | None:
    """None: nothing is taken over the images of a batch."""
    config = planned.config
    if config.get("norm") not in ("batch", "renorm", "moving") or not is_trained(
        planned.pipeline.model
    ):
        return None
    images = config.get("statistics_images") or config["per_replica_batch"]
    return int(images * (config["replicas"] if config.get("sync_batch_norm") else 1))


def _spec_changes(before: Planned, after: Planned, same_model: bool) -> Iterator[Change]:
    old, new = _leaves(plain(before.spec)), _leaves(plain(after.spec))
    for field in dict.fromkeys([*new, *old]):
        if old.get(field) == new.get(field) or _below(field, _IDENTITY):
            continue
        if field == "pipeline_config" and same_model and field in old and field in new:
            continue  # the file was moved
        worked_out = _WORKED_OUT.get(field)
        if worked_out and before.config.get(worked_out) == after.config.get(worked_out):
            continue
        unsafe = "" if _below(field, SAFE) else _why(field)
        yield Change(field, old.get(field), new.get(field), unsafe)


def _held_changes(
    old: Mapping[str, Any], new: Mapping[str, Any], told: Iterable[str]
) -> Iterator[Change]:
    for field, name in _HELD.items():
        if name in old and name in new and old[name] != new[name] and field not in told:
            yield Change(field, old[name], new[name], _why(field))


def _pipeline_changes(before: Message, after: Message) -> Iterator[Change]:
    old, new = dict(_fields(before)), dict(_fields(after))
    for path in dict.fromkeys([*new, *old]):
        if old.get(path) != new.get(path):
            why = _WHY["pipeline_config"]
            yield Change(f"pipeline.config: {path}", old.get(path), new.get(path), why)


def _fields(message: Message, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All set fields of all messages, by their path.

    Synchronised batch normalization is the same layer under another name; whether layers are
    synchronised follows from the division, which may change.
    """
    for field, value in message.ListFields():
        name = field.name.replace("sync_batch_norm", "batch_norm")
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            yield f"{prefix}{name}", str(list(value)) if field.is_repeated else value
            continue
        for i, child in enumerate(value if field.is_repeated else (value,)):
            path = f"{prefix}{name}[{i}]" if field.is_repeated else f"{prefix}{name}"
            yield path, ""  # that it is there at all, which may be all that it says
            yield from _fields(child, f"{path}.")


def _leaves(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted name to value; a list is one value."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            found |= _leaves(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found


def _below(field: str, names: Iterable[str]) -> bool:
    return any(field == name or field.startswith(f"{name}.") for name in names)


def _why(field: str) -> str:
    return next((why for name, why in _WHY.items() if _below(field, [name])), _WHY_ELSE)


def _text(value: Any) -> str:
    if value is None:
        return "not set"
    return f"{value:g}" if isinstance(value, float) else str(value) or "there"
