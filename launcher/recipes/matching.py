"""Which recipe a pipeline's model section is: the rest of the pipeline does not count."""

from functools import cache
from typing import Any

from launcher.odapi.protos import Message
from launcher.recipes.recipe import Recipe
from launcher.recipes.table import RECIPES

# num_classes and the label map are the user's data; inplace_batchnorm_update is TF1's.
IGNORED = ("num_classes", "inplace_batchnorm_update", "keypoint_label_map_path")

# Scalars of which the OD API's builders ask whether they are set: their default, written out, is
# not the same as nothing (its builders/losses_builder.py and model_builder.py).
PRESENCE_COUNTS = frozenset(
    {
        "BootstrappedSigmoidClassificationLoss.alpha",
        "CenterNetFeatureExtractor.depth_multiplier",
        "CenterNetFeatureExtractor.upsampling_interpolation",
        "CenterNetFeatureExtractor.use_depthwise",
        "CenterNetFeatureExtractor.use_separable_conv",
        "SigmoidFocalClassificationLoss.alpha",
        "SsdFeatureExtractor.num_layers",
        "SsdFeatureExtractor.replace_preprocessor_with_placeholder",
        "SsdFeatureExtractor.spaghettinet_arch_name",
    }
)


def match(pipeline: Message) -> Recipe | None:
    return _recipes_by_fingerprint().get(fingerprint(pipeline))


def fingerprint(pipeline: Message) -> bytes:
    """Equal for two pipelines whose model sections build the same network and loss.

    A default counts as the same written out or left out, except where the OD API tells them apart.
    """
    model = type(pipeline.model)()
    model.CopyFrom(pipeline.model)
    for _, architecture in model.ListFields():
        for name in IGNORED:
            if name in architecture.DESCRIPTOR.fields_by_name:
                architecture.ClearField(name)
    _drop_written_defaults(model)
    return bytes(model.SerializePartialToString(deterministic=True))


@cache
def _recipes_by_fingerprint() -> dict[bytes, Recipe]:
    return {fingerprint(recipe.build()): recipe for recipe in RECIPES}


def _drop_written_defaults(message: Any) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            if hasattr(value, "ListFields"):  # one message; repeated ones count as they are
                _drop_written_defaults(value)
        elif value == field.default_value and not _presence_counts(field):
            message.ClearField(field.name)


def _presence_counts(field: Any) -> bool:
    name = f"{field.containing_type.name}.{field.name}"
    return name in PRESENCE_COUNTS or field.containing_oneof is not None
