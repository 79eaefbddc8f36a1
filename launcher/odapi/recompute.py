"""Gradient checkpointing: activations computed again in the backward pass instead of kept.

`apply(model)` makes a built detection model run its backbone in segments and its BiFPN in cells. Of
a segment only the inputs are kept; when its gradient
is asked for, the segment runs once more and its activations live for that moment. Variables,
their names and checkpoints stay as they are, and so do the gradients.

What a second run must not do: move the statistics of batch normalization again (`in_recomputation`
tells a layer that it is one), or draw another dropout mask (a segment draws one seed, both of
its runs use it). And it must not run early: TensorFlow's executor would run it at once, and its
optimizer would merge it with the first run, so each second run waits for the gradients that come
from above, and gives its own away when all of them are there.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf
from tensorflow.python.eager import record
from tf_keras.src.engine import base_layer, base_layer_utils, functional
from tf_keras.src.layers.normalization.batch_normalization import BatchNormalizationBase

from launcher.errors import ConfigError
from launcher.odapi.segments import Segment, Step, segments

Tensors = list[Any]
_SMALLEST_BACKBONE = 20
"""Layers; a functional model of fewer is no backbone and keeps its activations."""
_SIDE = 512  # of the image by which the sizes of a backbone's activations are compared


class _Thread(threading.local):
    """Replicas of a mirrored strategy are traced in threads of their own."""

    recomputing = False
    seed: Any = None


_thread = _Thread()


def in_recomputation() -> bool:
    """Whether what is traced now is a second run, which must leave all statistics alone."""
    return _thread.recomputing


@contextmanager
def _running(seed: Any, *, again: bool) -> Iterator[None]:
    before = _thread.recomputing, _thread.seed
    _thread.recomputing, _thread.seed = again or before[0], seed
    try:
        yield
    finally:
        _thread.recomputing, _thread.seed = before


def recomputed(function: Callable[[Tensors], Tensors], tensors: Tensors) -> Tensors:
    """`function(tensors)`, run a second time when the gradient is asked for.

    `function` takes and gives lists of floating tensors and may use Keras layers. Its gradients,
    those of trainable variables included, are those of a plain call. They are for tf.GradientTape.
    (tf.custom_gradient would pass all outputs through one IdentityN, of which TensorFlow 2.21's
    graph optimizer mixed up the outputs.)
    """
    seed = _draw()
    call = base_layer_utils.call_context()
    state = dict(call._state)
    with record.stop_recording(), record.VariableWatcher() as watcher, _running(seed, again=False):
        outputs = [tf.identity(t) for t in function(list(tensors))]
    variables = sorted(watcher.watched_variables(), key=lambda v: str(v.name))

    def backward(*above: Any) -> Tensors:
        with tf.control_dependencies(above):
            again = [tf.identity(t) for t in tensors]
        with tf.GradientTape() as tape:
            tape.watch(again)
            with call.enter(**state), _running(seed, again=True):
                second = function(again)
        found = tape.gradient(
            second,
            again + variables,
            output_gradients=list(above),
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        below, of_variables = found[: len(again)], found[len(again) :]
        # The segment below starts when this one has let go of its activations.
        with tf.control_dependencies(of_variables):
            return [*(tf.identity(g) for g in below), *of_variables]

    values = [tf.convert_to_tensor(v) for v in variables]
    record.record_operation("Recomputed", outputs, list(tensors) + values, backward)
    return outputs


def with_its_seed(function: Callable[[Tensors], Tensors], tensors: Tensors) -> Tensors:
    """What `recomputed` gives, with everything kept: to compare with."""
    with _running(_draw(), again=False):
        return function(tensors)


def _draw() -> Any:
    """The seed of one segment's dropout in one step."""
    return tf.random.uniform([2], maxval=tf.int32.max, dtype=tf.int32)


@dataclass(frozen=True)
class Applied:
    """What `apply` did to a model."""

    backbone: int  # segments
    cells: int  # of a BiFPN

    def __str__(self) -> str:
        cells = f", {self.cells} BiFPN cells" if self.cells else ""
        return f"recompute: {self.backbone} segments of the backbone{cells}"


def apply(model: Any) -> Applied:
    """Make the built `model` (a DetectionModel) recompute. Call before its step is traced.

    Raises ConfigError for a model none of whose parts can be recomputed.
    """
    parts = list(model.submodules)
    cut = {part: _cut_functional(part) for part in _outer(_functional(parts))}
    bifpns = [part for part in parts if type(part).__name__ == "KerasBiFpnFeatureMaps"]
    applied = Applied(
        backbone=sum(cut[part] for part in _inmost(list(cut))),
        cells=sum(_cut_bifpn(part) for part in bifpns),
    )
    if not applied.backbone:
        raise ConfigError(
            f"{type(model).__name__} has no backbone that can be recomputed",
            place="train.recompute",
            remedy="Leave it out, or choose an EfficientDet, SSD or Faster R-CNN recipe",
        )
    for part in parts:
        _prepare(part)
    return applied


def _functional(parts: Sequence[Any]) -> list[Any]:
    return [
        part
        for part in parts
        if isinstance(part, functional.Functional) and len(part.layers) >= _SMALLEST_BACKBONE
    ]


def _outer(models: Sequence[Any]) -> list[Any]:
    """Those that are not a layer of another one: its segments hold them already."""
    inside = {id(layer) for model in models for layer in model.layers}
    return [model for model in models if id(model) not in inside]


def _inmost(models: Sequence[Any]) -> list[Any]:
    """Those that are run. The OD API keeps a whole classification network beside the model that
    ends at the feature maps and shares its layers: that one is for checkpoints only."""
    sets = {id(model): {id(layer) for layer in model.layers} for model in models}
    return [m for m in models if not any(sets[id(m)] > sets[id(other)] for other in models)]


def _prepare(part: Any) -> None:
    """Keep a second run of this layer from changing anything or drawing anything new."""
    if isinstance(part, BatchNormalizationBase):  # the OD API's layers are of version 1
        for name in ("_assign_moving_average", "_assign_new_value"):
            _set(part, name, _once(getattr(part, name)))
    elif isinstance(part, tf.keras.layers.Dropout):
        _set(part, "_random_generator", _Masks(part._random_generator, part.name))
    elif isinstance(part, base_layer.BaseRandomLayer):
        raise ConfigError(
            f"layer {part.name} ({type(part).__name__}) draws random numbers that cannot be "
            "drawn again",
            place="train.recompute",
            remedy="Leave recompute out for this model",
        )


def _once(assign: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(variable: Any, *values: Any, **options: Any) -> Any:
        return None if in_recomputation() else assign(variable, *values, **options)

    return guarded


class _Masks:
    """Stands in a Dropout layer for Keras' generator: the mask follows from the segment's seed."""

    def __init__(self, usual: Any, name: str) -> None:
        self._usual = usual
        self._number = int.from_bytes(name.encode(), "little") % (2**31 - 1)

    def dropout(self, inputs: Any, rate: float, noise_shape: Any = None) -> Any:
        if _thread.seed is None:
            return self._usual.dropout(inputs, rate, noise_shape=noise_shape)
        seed = tf.random.experimental.stateless_fold_in(_thread.seed, self._number)
        return tf.nn.experimental.stateless_dropout(inputs, rate, seed, noise_shape=noise_shape)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)


def _cut_functional(model: Any) -> int:
    """Run the layers of a functional Keras model in segments; how many there are."""
    nodes = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    shapes = {str(id(t)): (1, _SIDE, _SIDE, t.shape[-1]) for t in model.inputs}
    steps = [_step(node, shapes) for node in nodes]
    outputs = [str(id(t)) for t in model.outputs]
    cuts = segments(steps, outputs)

    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        del training, mask  # layers take the first from Keras' call context
        known = {
            str(id(wanted)): model._conform_to_reference_input(given, ref_input=wanted)
            for wanted, given in zip(model.inputs, tf.nest.flatten(inputs), strict=True)
        }
        for cut in cuts:
            taken = [known[name] for name in cut.takes]
            given = recomputed(partial(_run, nodes, cut), taken)
            known.update(zip(cut.gives, given, strict=True))
        return tf.nest.pack_sequence_as(model._nested_outputs, [known[n] for n in outputs])

    _set(model, "call", call)
    return len(cuts)


def _run(nodes: Sequence[Any], cut: Segment, tensors: Tensors) -> Tensors:
    known = dict(zip(cut.takes, tensors, strict=True))
    for node in nodes[cut.start : cut.stop]:
        # Keras takes each argument from a list, once for each use.
        lists = {name: [known[name]] * len(node.flat_input_ids) for name in node.flat_input_ids}
        args, kwargs = node.map_arguments(lists)
        given = tf.nest.flatten(node.layer(*args, **kwargs))
        known.update(zip(node.flat_output_ids, given, strict=True))
    return [known[name] for name in cut.gives]


def _step(node: Any, shapes: dict[str, Any]) -> Step:
    """The node with the size of its output at `_SIDE` pixels; adds its shape to `shapes`."""
    takes, gives = tuple(node.flat_input_ids), tuple(node.flat_output_ids)
    given = [shapes[name] for name in takes]
    try:
        shape = node.layer.compute_output_shape(given[0] if len(given) == 1 else given)
    except (TypeError, ValueError, NotImplementedError):
        shape = given[0]  # an operation with constants: element by element in these models
    shape = tuple(shape)
    for name in gives:
        shapes[name] = shape
    size = 1.0
    for side in shape:
        size *= side or 1
    return Step(takes, gives, size)


def _cut_bifpn(bifpn: Any) -> int:
    """Run the nodes of the OD API's BiFPN one iteration at a time; how many iterations."""
    config = bifpn.bifpn_node_config
    names = [node["name"] for node in config]
    given = sorted({name for node in config for name in node["inputs"]} - set(names), key=_level)
    order = given + names  # the layer names the feature maps by their places in this list
    wanted = list(bifpn.bifpn_output_node_names)
    iterations = sorted({max(1, _iteration(name)) for name in names})

    def call(feature_pyramid: Any) -> Any:
        known = dict(zip(given, (tensor for _, tensor in feature_pyramid), strict=True))
        for cell in iterations:
            known.update(_cell(bifpn, cell, order, known, wanted))
        return {name: known[name] for name in wanted}

    _set(bifpn, "call", call)
    return len(iterations)


def _cell(
    bifpn: Any, cell: int, order: list[str], known: dict[str, Any], wanted: list[str]
) -> dict[str, Any]:
    """One iteration: its new feature maps that later ones or the caller want."""
    config = bifpn.bifpn_node_config
    mine = [i for i, node in enumerate(config) if max(1, _iteration(node["name"])) == cell]
    own = {config[i]["name"] for i in mine}
    later = {
        name
        for node in config
        if max(1, _iteration(node["name"])) > cell
        for name in node["inputs"]
    }
    takes = sorted({n for i in mine for n in config[i]["inputs"]} - own)
    gives = [config[i]["name"] for i in mine if config[i]["name"] in later | set(wanted)]

    def run(tensors: Tensors) -> Tensors:
        maps = dict(zip(takes, tensors, strict=True))
        for i in mine:
            with tf.name_scope(f"node_{i:02d}"):
                results = []
                for index, block in bifpn.node_input_blocks[i]:
                    result = maps[order[index]]
                    for layer in block:
                        result = layer(result)
                    results.append(result)
                combined = bifpn.node_combine_op[i](results)
                for layer in bifpn.node_post_combine_block[i]:
                    combined = layer(combined)
                maps[config[i]["name"]] = combined
        return [maps[name] for name in gives]

    return dict(zip(gives, recomputed(run, [known[n] for n in takes]), strict=True))


def _iteration(name: str) -> int:
    return int(name.split("_")[0])


def _level(name: str) -> int:
    return int(name.rsplit("_", 1)[1])


def _set(part: Any, name: str, value: Any) -> None:
    """An attribute that Keras and checkpoints do not see."""
    object.__setattr__(part, name, value)
