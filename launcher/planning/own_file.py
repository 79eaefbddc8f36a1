"""What every run takes from the model's own file, whatever its batch, rate and steps follow."""

import math
from collections.abc import Iterator

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message, message
from launcher.planning.source import Source

_CLIP = "gradient_clipping_by_norm"
_LOSSES = {
    "LocalizationLoss": ("localization_loss", "as weighted_smooth_l1 {}"),
    "ClassificationLoss": ("classification_loss", "as weighted_sigmoid_focal {}"),
}
"""Messages that choose a loss: their oneof, and an example."""


def require_sound(source: Source) -> None:
    """Raises SpecError, with all problems at once, each with its line of the file."""
    if problems := [*_clip(source), *_losses(source)]:
        raise SpecError(problems)


def _clip(source: Source) -> Iterator[Problem]:
    config = source.pipeline.train_config
    norm = config.gradient_clipping_by_norm
    if config.HasField(_CLIP) and not (math.isfinite(norm) and norm > 0):
        remedy = "Use a norm above 0, or remove it: nothing is clipped"
        yield Problem(source.place("train_config", _CLIP), f"is {norm:g}", remedy)


def _losses(source: Source) -> Iterator[Problem]:
    """Those that the OD API's builder would refuse in the worker. Faster R-CNN's has a default."""
    model = source.pipeline.model
    kind = model.WhichOneof("model")
    if kind == "ssd":
        yield from _chosen(source, model.ssd.loss, ("model", "ssd", "loss"))
    if kind == "center_net":
        center_net = model.center_net
        # Its centers are always trained; the other tasks are those that are written.
        tasks = {"object_center_params": [center_net.object_center_params]}
        for field, value in center_net.ListFields():
            if field.message_type is not None:
                tasks[field.name] = list(value) if field.is_repeated else [value]
        for name, several in tasks.items():
            for task in several:
                yield from _chosen(source, task, ("model", kind, name))


def _chosen(source: Source, parent: Message, path: tuple[str, ...]) -> Iterator[Problem]:
    """The losses below `parent`, written or not."""
    for field in parent.DESCRIPTOR.fields:
        name = field.message_type.name if field.message_type is not None else ""
        here = (*path, field.name)
        if name == "Loss":
            yield from _chosen(source, getattr(parent, field.name), here)
        if name not in _LOSSES:
            continue
        oneof, example = _LOSSES[name]
        if getattr(parent, field.name).WhichOneof(oneof) is None:
            known = [f.name for f in message(name).DESCRIPTOR.oneofs_by_name[oneof].fields]
            what = "no loss is chosen" if parent.HasField(field.name) else "is not set"
            remedy = f"Choose one, {example}: {', '.join(known)}"
            yield Problem(source.place(*here), what, remedy)
