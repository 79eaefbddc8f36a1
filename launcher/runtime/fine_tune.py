"""Starting weights from another checkpoint: what fits is counted, what does not is told.

The rule of what is enough. `classification` and `detection` name parts (backbone, feature
extractor) whose layers do not depend on the classes: of the same architecture every variable is
there in the same shape, so anything less is another architecture, some of whose layers match
because they are numbered alike. `full` adds the heads. Those of other classes have other shapes
and start anew, but the feature extractor must be whole, and something of the heads be restored:
else the word is wrong.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from launcher.errors import ConfigError
from launcher.odapi.object_graph import (
    Match,
    OtherShape,
    Weights,
    millions,
    name_of,
    parameters,
    part_of,
    top_of,
    variables_of,
)
from launcher.odapi.protos import Message
from launcher.records import checkpoint as files

KINDS = ("full", "detection", "classification")
_V2 = 2  # CheckpointVersion.V2 of train.proto
_NAMED = 3  # variables that a line names of a longer list


class Restored:
    """What came from the checkpoint, as lines of the log and as a record."""

    def __init__(self, path: str, kind: str, match: Match, model: Any) -> None:
        self._path = path
        self._kind = kind
        self._match = match
        everything = variables_of(model)
        meant = {id(v) for v in _meant(model, kind)}
        self._all = everything
        self._outside = [name_of(v) for v in everything if id(v) not in meant]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        match, found = self._match, [v for v, _ in self._match.restored]
        lines = [
            f"fine-tuning: {len(found)} of {len(self._all)} variables "
            f"({millions(parameters(found))} of {millions(parameters(self._all))} parameters) "
            f"restored from {self._path} as '{self._kind}'"
        ]
        for what, names in (
            ("start anew, of another shape in the checkpoint", _shapes(match.other_shape)),
            ("start anew, not in the checkpoint", [name_of(v) for v in match.missing]),
            (f"start anew, not part of '{self._kind}'", self._outside),
            ("of the checkpoint are not used, the model has none like them", match.unused),
        ):
            if names:
                lines.append(f"fine-tuning: {len(names)} {what}: {_some(names)}")
        return lines

    def to_json(self) -> dict[str, Any]:
        """All names, for programs."""
        found = [v for v, _ in self._match.restored]
        return {
            "checkpoint": self._path,
            "type": self._kind,
            "restored": len(found),
            "variables": len(self._all),
            "restored_parameters": parameters(found),
            "parameters": parameters(self._all),
            "other_shape": [
                {"name": o.name, "shape": o.shape, "in_checkpoint": o.in_checkpoint}
                for o in self._match.other_shape
            ],
            "not_in_checkpoint": [name_of(v) for v in self._match.missing],
            "not_in_type": self._outside,
            "not_in_model": self._match.unused,
        }


def restore(model: Any, train_config: Message) -> Restored:
    """Load `fine_tune_checkpoint` into the built model, every variable of which exists.

    Raises ConfigError, with the model as it was, unless enough of it fits: see the rule above.
    """
    path, kind = train_config.fine_tune_checkpoint, train_config.fine_tune_checkpoint_type
    _check_words(train_config)
    weights = _open(path)
    try:
        match = weights.match(part_of(model, kind))
        if reason := _too_little(model, kind, match):
            raise ConfigError(reason, place=path, remedy=_other_kind(model, weights, kind))
        weights.assign(match)
    # IndexError, DataLossError: a data file is cut short or damaged.
    except (IndexError, tf.errors.OpError) as e:
        raise _unreadable(path, e) from None
    return Restored(path, kind, match, model)


def _check_words(train_config: Message) -> None:
    kind = train_config.fine_tune_checkpoint_type
    if kind not in KINDS:
        raise ConfigError(
            f'"{kind}" is not a type that can be restored',
            place="train_config.fine_tune_checkpoint_type",
            remedy=f"Use {', '.join(KINDS[:0:-1])} or {KINDS[0]}",
        )
    version = "fine_tune_checkpoint_version"  # unset is V1, which says nothing about the file
    if train_config.HasField(version) and train_config.fine_tune_checkpoint_version != _V2:
        raise ConfigError(
            "is not V2, and TensorFlow 2 reads no other",
            place="train_config.fine_tune_checkpoint_version",
            remedy="Use a checkpoint that TensorFlow 2 saved, and write V2",
        )


def _open(path: str) -> Weights:
    if "://" not in path and (flaw := files.flaw(path)):
        raise ConfigError(flaw[0], place=path, remedy=flaw[1])
    try:
        if not tf.io.gfile.exists(f"{path}.index"):
            raise ConfigError(
                "no such checkpoint",
                place=path,
                remedy="Give the prefix before .index, as gs://b/ckpt-0",
            )
        weights = Weights(path)
    except (ValueError, IndexError, RuntimeError, tf.errors.OpError) as e:
        raise _unreadable(path, e) from None
    if not weights.has_objects:
        raise ConfigError(
            "a checkpoint of TensorFlow 1: names, no objects",
            place=path,
            remedy="Use a checkpoint that TensorFlow 2 saved, as those of the TF2 model zoo",
        )
    return weights


def _too_little(model: Any, kind: str, match: Match) -> str:
    """Why this is not the start that `kind` promises; empty when it is."""
    if not match.variables:
        return f"has nothing to give: the OD API knows no '{kind}' part of this model"
    if not match.restored:
        return f"restores none of the model's {match.variables} variables as '{kind}'"
    found = {id(v) for v, _ in match.restored}
    top = _Ids(top_of(model))
    must = [v for v in _meant(model, "detection" if kind == "full" else kind) if v not in top]
    lost = [v for v in must if id(v) not in found]
    if not lost:
        known = _Ids([*must, *top_of(model)])
        heads = match.variables - len(must)
        if kind == "full" and heads and all(v in known for v, _ in match.restored):
            return f"has nothing of the model's heads ({heads} variables), which 'full' is for"
        return ""
    part = "feature extractor" if kind != "classification" else "backbone"
    others = [o for o in match.other_shape if o.name in {name_of(v) for v in lost}]
    absent = [name_of(v) for v in lost if v in _Ids(match.missing)]
    reasons = [
        f"{len(names)} {why}, as {_some(names, 1)}"
        for why, names in (("have another shape", _shapes(others)), ("are not in it", absent))
        if names
    ]
    return (
        f"is not of this model's architecture: of the {len(must)} variables of its {part} "
        f"{len(must) - len(lost)} fit; {'; '.join(reasons)}"
    )


class _Ids:
    """Variables by identity: TensorFlow's own `in` compares values."""

    def __init__(self, variables: Sequence[tf.Variable]) -> None:
        self._ids = {id(v) for v in variables}

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._ids


def _other_kind(model: Any, weights: Weights, kind: str) -> str:
    """The type under which this checkpoint would do, or that there is none."""
    for other in KINDS:
        if other == kind:
            continue
        match = weights.match(part_of(model, other))
        if not _too_little(model, other, match):
            return f"It fits as fine_tune_type: {other} ({len(match.restored)} variables)"
    return "Use a checkpoint of the same architecture"


def _meant(model: Any, kind: str) -> list[tf.Variable]:
    return variables_of(tf.train.Checkpoint(**part_of(model, kind)))


def _unreadable(path: str, error: BaseException) -> ConfigError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    remedy = "Copy the checkpoint again"
    if "://" in path:
        remedy = "See that the workers may read it, or copy it to a path that all of them have"
    return ConfigError(f"cannot be read ({lines[0][:200]})", place=path, remedy=remedy)


def _shapes(others: Sequence[OtherShape]) -> list[str]:
    return [f"{o.name} {list(o.shape)}, there {list(o.in_checkpoint)}" for o in others]


def _some(names: Sequence[str], count: int = _NAMED) -> str:
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 and count > 1 else "")
