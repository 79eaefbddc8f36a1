"""Which variables of a TensorFlow 2 checkpoint belong to which of a model. Needs TensorFlow.

A checkpoint holds a graph of named objects, and restoring walks it along the model's. TensorFlow
does that silently: what has no counterpart on either side is passed over, and a variable of
another shape ends it with a ValueError. Here the same walk gives a list first.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"
_SUFFIX = f"/.ATTRIBUTES/{_VALUE}"


@dataclass(frozen=True)
class OtherShape:
    name: str
    shape: tuple[int, ...]
    in_checkpoint: tuple[int, ...]


@dataclass
class Match:
    """Of the variables below some named objects of a model with a checkpoint's of those names."""

    restored: list[tuple[tf.Variable, str]] = field(default_factory=list)
    """With their keys in the checkpoint."""
    other_shape: list[OtherShape] = field(default_factory=list)
    missing: list[tf.Variable] = field(default_factory=list)
    """In the model, not in the checkpoint."""
    unused: list[str] = field(default_factory=list)
    """In the checkpoint, not in the model: object paths."""

    @property
    def variables(self) -> int:
        return len(self.restored) + len(self.other_shape) + len(self.missing)

    @property
    def complete(self) -> bool:
        return bool(self.restored) and not self.other_shape and not self.missing


class Weights:
    """A checkpoint opened for reading. Raises what TensorFlow raises when it cannot be read."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._reader: Any = tf.train.load_checkpoint(prefix)
        self._shapes: dict[str, list[int]] = self._reader.get_variable_to_shape_map()
        self._nodes: Any = ()
        if self.has_objects:
            graph = trackable_object_graph_pb2.TrackableObjectGraph()
            graph.ParseFromString(self._reader.get_tensor(_GRAPH))
            self._nodes = graph.nodes

    @property
    def has_objects(self) -> bool:
        """False for what TensorFlow 1 saved."""
        return _GRAPH in self._shapes

    def match(self, objects: dict[str, Any]) -> Match:
        """`objects` are roots by name, as `model.restore_from_objects` gives them."""
        root = tf.train.Checkpoint(**objects)
        found = Match()
        seen: set[int] = set()
        pairs = tf.train.CheckpointView(self._prefix).match(root)
        for node, part in pairs.items():
            key = self._key(node)
            if not key or not isinstance(part, tf.Variable) or id(part) in seen:
                continue
            seen.add(id(part))
            shape = tuple(self._shapes[key])
            if shape == tuple(part.shape):
                found.restored.append((part, key))
            else:
                found.other_shape.append(OtherShape(name_of(part), tuple(part.shape), shape))
        found.missing = [v for v in variables_of(root) if id(v) not in seen]
        used = set(pairs)
        found.unused = sorted(
            self._key(node).removesuffix(_SUFFIX)
            for node in self._below(objects)
            if self._key(node) and node not in used
        )
        return found

    def assign(self, match: Match) -> None:
        """All or none: a damaged value shows before the first variable has changed."""
        values = [self._reader.get_tensor(key) for _, key in match.restored]
        for (variable, _), value in zip(match.restored, values, strict=True):
            variable.assign(value)

    def _key(self, node: int) -> str:
        """Where a variable's values are; empty for an object that is no variable."""
        keys = (a.checkpoint_key for a in self._nodes[node].attributes if a.name == _VALUE)
        return next(keys, "")

    def _below(self, names: dict[str, Any]) -> Iterator[int]:
        """All nodes below the root's children of these names."""
        waiting = [c.node_id for c in self._nodes[0].children if c.local_name in names]
        seen = set(waiting)
        while waiting:
            node = waiting.pop()
            yield node
            for child in self._nodes[node].children:
                if child.node_id not in seen:
                    seen.add(child.node_id)
                    waiting.append(child.node_id)


def part_of(model: Any, kind: str) -> dict[str, Any]:
    """What `kind` restores of a detection model: roots by their names in a checkpoint.

    `classification` is its backbone, `detection` its feature extractor, `full` everything. Empty
    when the OD API has none for this model (the hourglass has no classification backbone).
    """
    try:
        roots: dict[str, Any] = model.restore_from_objects(fine_tune_checkpoint_type=kind)
    except (AttributeError, NotImplementedError, ValueError):
        return {}
    return {name: root for name, root in roots.items() if root is not None}


def variables_of(root: Any) -> list[tf.Variable]:
    """Each variable below an object once, as a checkpoint of it would hold them."""
    parts = tf.train.TrackableView(root).descendants()
    return list({id(v): v for v in parts if isinstance(v, tf.Variable)}.values())


def top_of(model: Any) -> list[tf.Variable]:
    """Of an EfficientNet as backbone: the classifier's last layer, which the OD API keeps and no
    detection comes from. Its size is the number of the classifier's classes."""
    extractor: Any = getattr(model, "_feature_extractor", None)
    network = getattr(extractor, "_efficientnet", None)
    if network is None:
        return []
    used = {id(v) for v in network.variables}
    return [v for v in extractor.classification_backbone.variables if id(v) not in used]


def name_of(variable: tf.Variable) -> str:
    """Keras' name without the `:0` of graphs."""
    return str(variable.name).removesuffix(":0")


def parameters(variables: list[tf.Variable]) -> int:
    return sum(v.shape.num_elements() for v in variables)


def millions(count: int) -> str:
    """3.2 M, or 5,120 where that says more."""
    return f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"
