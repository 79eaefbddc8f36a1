"""Which variables are trained: `train_config.freeze_variables` and `update_trainable_variables`.

The OD API reads both in TensorFlow 1 only, and trains everything in TensorFlow 2 without a word.
Here they mean what they meant there (tf_slim's filter_variables): a variable is trained when its
name matches one of update_trainable_variables, all do when there are none, and none of
freeze_variables. An expression matches anywhere in the name (re.search). TensorFlow 2 has no
`FeatureExtractor/` before the names of a backbone, so each is known by its part, too:
`backbone/block_1_expand/kernel`, `neck/...` (the rest of the feature extractor), `heads/...`.

What is frozen takes part in nothing: no gradient, no all-reduce, no slots, no weight decay. Batch
normalization whose gamma and beta are frozen runs on its statistics and leaves them as they are,
as version 2 of Keras' layer does when it is not trainable: moments of the new data beneath weights
that cannot follow them would be neither the old model nor a new one.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import tensorflow as tf

from launcher.contract import pattern_matches
from launcher.errors import ConfigError
from launcher.odapi.norm_layers import FrozenNorm, layers_of
from launcher.odapi.object_graph import millions, name_of, parameters, part_of, variables_of
from launcher.odapi.protos import Message

_NAMED = 4
_ALL = "`launcher variables NAME` lists all"


@dataclass(frozen=True)
class Chosen:
    """What is trained and what is not."""

    trained: list[tf.Variable]
    frozen: list[tf.Variable]
    still_norms: int
    """Normalization layers whose statistics stand still."""

    def __str__(self) -> str:
        everything = self.trained + self.frozen
        here, all_there_are = parameters(self.frozen), parameters(everything)
        return (
            f"freeze: {len(self.frozen)} of {len(everything)} variables, "
            f"{millions(here)} of {millions(all_there_are)} parameters; "
            f"the statistics of {self.still_norms} normalization layers stand still"
        )


def listing(model: Any) -> list[dict[str, Any]]:
    """The variables that can be trained, as patterns see them: what `launcher variables` shows."""
    full_name = namer(model)
    return [
        {"name": full_name(v), "shape": v.shape.as_list(), "parameters": v.shape.num_elements()}
        for v in model.trainable_variables
    ]


def apply(model: Any, train_config: Message) -> Chosen:
    """Choose the variables and stop the frozen layers' statistics.

    Call it when all variables are made and the norm layers are of the kind that the plan wants.
    Raises ConfigError for a pattern that matches nothing, or when nothing is left to train.
    """
    updated = list(train_config.update_trainable_variables)
    frozen = list(train_config.freeze_variables)
    variables = list(model.trainable_variables)
    if not updated and not frozen:
        return Chosen(variables, [], 0)
    full_name = namer(model)
    names = [full_name(v) for v in variables]
    _check(updated, names, "train_config.update_trainable_variables")
    _check(frozen, names, "train.freeze (freeze_variables)")

    def is_trained(name: str) -> bool:
        return (not updated or _any(updated, name)) and not _any(frozen, name)

    trained = [v for v, name in zip(variables, names, strict=True) if is_trained(name)]
    if not trained:
        raise ConfigError(
            f"nothing is left to train: all {len(variables)} variables are frozen",
            place="train.freeze",
            remedy=f"Freeze less; names are as {_examples(names)}",
        )
    kept = {id(v) for v in trained}
    still = _stop_statistics(model, kept, lambda v: is_trained(full_name(v)))
    return Chosen(trained, [v for v in variables if id(v) not in kept], still)


def namer(model: Any) -> Callable[[tf.Variable], str]:
    """A variable's name after its part: backbone, neck or heads."""
    backbone, extractor = (
        {id(v) for v in variables_of(tf.train.Checkpoint(**part_of(model, kind)))}
        for kind in ("classification", "detection")
    )

    def full_name(variable: tf.Variable) -> str:
        part = "neck" if id(variable) in extractor else "heads"
        return f"{'backbone' if id(variable) in backbone else part}/{name_of(variable)}"

    return full_name


def _stop_statistics(
    model: Any, kept: Collection[int], is_trained: Callable[[tf.Variable], bool]
) -> int:
    """How many layers were stopped: those with statistics and none of gamma and beta trained.

    One that has neither is stopped when the patterns freeze its mean.
    """
    stopped = 0
    for layer in layers_of(model):
        own = [v for v in (layer.gamma, layer.beta) if v is not None]
        if any(id(v) in kept for v in own) or (not own and is_trained(layer.moving_mean)):
            continue
        # Not by `trainable = False`: the OD API's layers are Keras' version 1, which goes on
        # normalizing with the moments of the batch then (measured).
        if not isinstance(layer, FrozenNorm):  # train.norm: frozen made it one already
            layer.__class__ = type(f"Frozen{type(layer).__name__}", (FrozenNorm, type(layer)), {})
        stopped += 1
    return stopped


def _check(patterns: Sequence[str], names: Sequence[str], place: str) -> None:
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as e:
            raise ConfigError(
                f'"{pattern}" is no regular expression ({e})', place=place, remedy="Correct it"
            ) from None
        if not any(_any([pattern], name) for name in names):
            raise ConfigError(
                f'"{pattern}" matches none of the {len(names)} variables that can be trained',
                place=place,
                remedy=_near(pattern, names),
            )


def _any(patterns: Sequence[str], name: str) -> bool:
    return any(pattern_matches(pattern, name) for pattern in patterns)


def _near(pattern: str, names: Sequence[str]) -> str:
    """Parts of names that look like the pattern, else the first parts of all names."""
    parts = {part for name in names for part in name.split("/")}
    lower = {part.lower(): part for part in parts}
    wanted = re.sub(r"[^a-z0-9_]+", "", pattern.lower())
    near = get_close_matches(wanted, lower, n=_NAMED, cutoff=0.5)
    near += [p for p in sorted(lower) if wanted and wanted in p and p not in near]
    if near:
        return f"Did you mean {' or '.join(lower[n] for n in near[:_NAMED])}? {_ALL}"
    return f"Names are as {_examples(names)}. {_ALL}"


def _examples(names: Sequence[str]) -> str:
    """One name of each of the model's parts."""
    first = {name.partition("/")[0]: name for name in reversed(names)}
    return ", ".join(first[part] for part in sorted(first))
