"""What the model's own file does with the images, where the worker could not train with it."""

from collections.abc import Iterator, Sequence

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message
from launcher.planning.arithmetic import Split
from launcher.planning.source import Source

_RESIZER = "image_resizer_oneof"
_SEQUENCES = 2
"""InputType TF_SEQUENCE_EXAMPLE."""


def require_trainable_input(source: Source, split: Split) -> None:
    """Raises SpecError, with all problems at once, each with its line of the file."""
    if problems := [
        *_resizer(source),
        *_shapes(source, split),
        *_pyramid(source),
        *_augmentation(source),
        *_mixture(source),
        *_records(source),
    ]:
        raise SpecError(problems)


def one_shape(model: Message) -> bool:
    """Whether the resizer gives all images one shape."""
    resizer = _resizer_of(model)
    if resizer.WhichOneof(_RESIZER) == "keep_aspect_ratio_resizer":
        return bool(resizer.keep_aspect_ratio_resizer.pad_to_max_dimension)
    return bool(resizer.HasField("fixed_shape_resizer"))


def _resizer(source: Source) -> Iterator[Problem]:
    """The OD API's input knows four of its five kinds (config_util.get_spatial_image_size)."""
    kind = _resizer_of(source.pipeline.model).WhichOneof(_RESIZER)
    if kind in (None, "pad_to_multiple_resizer"):
        what = f"{kind} cannot be trained with" if kind else "has no image_resizer"
        remedy = "Use fixed_shape_resizer, or keep_aspect_ratio_resizer with padding"
        yield Problem(_place(source, "image_resizer"), what, remedy)


def _shapes(source: Source, split: Split) -> Iterator[Problem]:
    kind = _resizer_of(source.pipeline.model).WhichOneof(_RESIZER)
    if split.per_replica_batch > 1 and not one_shape(source.pipeline.model):
        yield Problem(
            _place(source, "image_resizer"),
            f"{kind} gives images of several shapes, {split.per_replica_batch:,} of which cannot "
            "be one micro-batch",
            "Set pad_to_max_dimension: true, or batch.per_replica_batch=1 (it accumulates)",
        )


def _pyramid(source: Source) -> Iterator[Problem]:
    """EfficientDet's levels are added to each other, so each has to be half of the one below.

    A level has ceil(side / 2^level) rows: the convolutions pad (arXiv 1911.09070, section 4).
    """
    part = _part(source.pipeline.model)
    extractor = getattr(part, "feature_extractor", None)
    if extractor is None or "bifpn" not in str(extractor.type):
        return
    place = _place(source, "image_resizer")
    if not one_shape(source.pipeline.model):
        remedy = "Set pad_to_max_dimension: true"
        yield Problem(place, "a feature pyramid (BiFPN) takes images of one shape only", remedy)
        return
    levels = range(extractor.bifpn.min_level, extractor.bifpn.max_level)
    multiple = max(1, extractor.pad_to_multiple)
    for side in sorted(set(_sides(_resizer_of(source.pipeline.model)))):
        padded = -(-side // multiple) * multiple
        if any(_rows(padded, level) != 2 * _rows(padded, level + 1) for level in levels):
            most = 2**extractor.bifpn.max_level
            below, above = side // most * most, -(-side // most) * most
            yield Problem(
                place,
                f"{side} pixels cannot be halved into the levels of the feature pyramid (BiFPN)",
                f"Use a multiple of {most}: {f'{below} or ' if below else ''}{above}",
            )


def _augmentation(source: Source) -> Iterator[Problem]:
    options = source.pipeline.train_config.data_augmentation_options
    for number, option in enumerate(options, 1):
        if option.WhichOneof("preprocessing_step") is None:
            yield Problem(
                source.place("train_config", "data_augmentation_options"),
                f"number {number} of {len(options)} names no step",
                "Remove it, or write one, as random_horizontal_flip {}",
            )


def _mixture(source: Source) -> Iterator[Problem]:
    """The OD API draws a file by its weight, then a record of it. Here all records are one order,
    so that they are counted and a restart goes on in it."""
    weights = source.pipeline.train_input_reader.sample_from_datasets_weights
    if weights:
        yield Problem(
            source.place("train_input_reader", "sample_from_datasets_weights"),
            f"{', '.join(f'{w:g}' for w in weights)}: files are not drawn by weight here",
            "Remove it: each record is seen once an epoch, a file as often as it has records",
        )


def _records(source: Source) -> Iterator[Problem]:
    """What of a record the OD API's Example decoder gives: one image of three channels."""
    reader = source.pipeline.train_input_reader
    if reader.input_type == _SEQUENCES:
        yield Problem(
            source.place("train_input_reader", "input_type"),
            "TF_SEQUENCE_EXAMPLE: records of several frames are not read here",
            "Convert each frame to an Example of its own, and remove input_type",
        )
    if reader.num_additional_channels:
        yield Problem(
            source.place("train_input_reader", "num_additional_channels"),
            f"{reader.num_additional_channels}: images of more than three channels are not read",
            "Remove it",
        )


def _sides(resizer: Message) -> Sequence[int]:
    if resizer.HasField("fixed_shape_resizer"):
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    return (resizer.keep_aspect_ratio_resizer.max_dimension,)


def _rows(side: int, level: int) -> int:
    return int(-(-side // 2**level))


def _part(model: Message) -> Message:
    return getattr(model, model.WhichOneof("model"))


def _resizer_of(model: Message) -> Message:
    return _part(model).image_resizer


def _place(source: Source, field: str) -> str:
    return source.place("model", source.pipeline.model.WhichOneof("model"), field)
