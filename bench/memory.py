"""Memory of a training step by the shapes of its tensors, and what a process really needs.

    .venv/bin/python bench/memory.py --trace efficientdet_d0 [--recompute] [--into FILE]
    .venv/bin/python bench/memory.py --measure efficientdet_d0 --batch 2      the same, really run
    .venv/bin/python bench/memory.py --table bench/results/memory.jsonl       the table, as Python

--trace builds the recipe at its own image size and traces the worker's own step (losses, target
assignment, gradients, update) for 1 and for 3 images. Nothing is computed: the tensors of the
graph are made and freed in the order in which they were traced, each as many bytes as its static
shape has. Views share memory; an elementwise operation takes over an input that nobody wants any
more. The peak is a straight line in the images: `fixed_mb` and `image_mb`; `state_mb` are weights
and slots. --measure runs three steps of drawn images on one core and tells the kernel's high-water
mark less what was resident before, beside the line's value. What a GPU adds (cuDNN's workspace, the
allocator's pieces) is in neither. The last line is JSON; of --measure `ours` is the estimate,
`peer` what was measured.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.recompute import memory  # noqa: E402 (the folder is found by the line above)

MB = 2**20
_BATCHES = (1, 3)
_STEPS = 3
_BLOCK = str(64 * 1024)
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": _BLOCK, "MALLOC_TRIM_THRESHOLD_": _BLOCK}

_VIEWS = {
    "Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "PreventGradient",
    "CheckNumerics", "EnsureShape", "Snapshot",
}  # fmt: skip
_RESOURCES = {"Const", "VarHandleOp", "ReadVariableOp"}
_IN_PLACE = {
    "Add", "AddV2", "AddN", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "Relu", "Relu6",
    "ReluGrad", "Relu6Grad", "Sigmoid", "SigmoidGrad", "Neg", "Square", "Exp", "Log", "Log1p",
    "Sqrt", "Rsqrt", "BiasAdd", "Pow", "Abs", "Sign", "Tanh", "TanhGrad", "Softplus", "SelectV2",
}  # fmt: skip


def main() -> int:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--trace", metavar="RECIPE", nargs="+", help="see `launcher recipes`")
    arguments.add_argument("--into", metavar="FILE", type=Path, help="append lines of --trace")
    arguments.add_argument("--measure", metavar="RECIPE")
    arguments.add_argument("--recompute", action="store_true", help="as train.recompute: true")
    arguments.add_argument("--batch", type=int, default=1, help="images, of --measure")
    arguments.add_argument("--table", metavar="FILE", type=Path, help="lines of --trace")
    arguments.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.table:
        print_table(options.table)
    elif options.one:
        print(json.dumps({"peak_mb": measured(options.measure, options.batch, options.recompute)}))
    elif options.measure:
        compare(options)
    else:
        for recipe in options.trace:
            line = json.dumps(traced_line(recipe, options.recompute))
            print(line, flush=True)
            if options.into:
                with options.into.open("a") as file:
                    file.write(line + "\n")
    return 0


def traced_line(recipe: str, recompute: bool) -> dict[str, Any]:
    peaks, state = [], 0.0
    for batch in _BATCHES:
        with tempfile.TemporaryDirectory() as folder:
            step, iterator, model, _ = built(recipe, batch, recompute, Path(folder))
            import tensorflow as tf

            graph = step._step.get_concrete_function(iterator, tf.constant([0.0, 0.0])).graph
            peaks.append(peak_of(graph) / MB)
            trained = sum(v.shape.num_elements() for v in model.trainable_variables)
            others = sum(v.shape.num_elements() for v in model.non_trainable_variables)
            slots = 2 if "adam" in type(step._optimizer).__name__.lower() else 1
            state = 4 * (trained * (1 + slots) + others) / MB
    image = (peaks[1] - peaks[0]) / (_BATCHES[1] - _BATCHES[0])
    return {
        "recipe": recipe,
        "recompute": recompute,
        "state_mb": round(state, 1),
        "fixed_mb": round(peaks[0] - image * _BATCHES[0], 1),
        "image_mb": round(image, 1),
    }


def built(recipe: str, batch: int, recompute: bool, folder: Path) -> tuple[Any, Any, Any, Any]:
    """The worker's step over drawn images, its iterator and the model."""
    from launcher import recipes
    from launcher.data import make_shapes
    from launcher.odapi import compat
    from tests.runtime.small_pipelines import point_at

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    compat.load()
    import tensorflow as tf

    from launcher.odapi import recompute as recomputing
    from launcher.odapi.normalizers import normalizer_of
    from launcher.runtime.inputs import train_dataset
    from launcher.runtime.model import build_model, build_optimizer
    from launcher.runtime.step import Requests, TrainStep

    make_shapes(folder / "data", train_images=8, val_images=4, image_size=128, seed=0)
    message = point_at(recipes.get(recipe).build(), folder / "data", batch=batch, steps=100_000)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        done = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        model = build_model(message, strategy)
        if recompute:
            recomputing.apply(model)
        optimizer, _ = build_optimizer(message, done, model.trainable_variables)
        normalizer = normalizer_of(message.model, "global")
        step = TrainStep(
            strategy, model, optimizer, done, message.train_config, 1, normalizer=normalizer
        )
    data = strategy.distribute_datasets_from_function(
        lambda _: train_dataset(message, model, workers=1, worker=0, batch=batch, seed=0)
    )
    return step, iter(data), model, Requests


def peak_of(graph: Any) -> float:
    """Bytes: the tensors of a traced graph, made and freed in its order."""
    operations = graph.get_operations()
    uses: Counter[Any] = Counter()
    for operation in operations:
        uses.update({t.ref() for t in operation.inputs})
    uses.update(t.ref() for t in graph.outputs)  # what the function hands out stays
    buffer_of: dict[Any, int] = {}
    size: list[float] = []
    wanted: list[int] = []
    live = peak = 0.0
    for operation in operations:
        taken = {buffer_of[t.ref()] for t in operation.inputs}
        for tensor in {t.ref() for t in operation.inputs}:
            wanted[buffer_of[tensor]] -= 1
        for i, tensor in enumerate(operation.outputs):
            buffer = _shared(operation, i, buffer_of, size, wanted)
            if buffer is None:
                buffer = len(size)
                size.append(0.0 if operation.type in _RESOURCES else bytes_of(tensor))
                wanted.append(0)
                live += size[buffer]
            buffer_of[tensor.ref()] = buffer
            wanted[buffer] += uses[tensor.ref()]
            taken.add(buffer)
        peak = max(peak, live)
        for buffer in taken:
            if wanted[buffer] == 0:
                live -= size[buffer]
                size[buffer] = 0.0
    return peak


def _shared(
    operation: Any, i: int, buffer_of: dict[Any, int], size: list[float], wanted: list[int]
) -> int | None:
    """The buffer of an input that an output is in."""
    if operation.type in _VIEWS and i < len(operation.inputs):
        return buffer_of[operation.inputs[i].ref()]
    if operation.type in _IN_PLACE and i == 0:
        room = bytes_of(operation.outputs[0])
        for tensor in operation.inputs:
            buffer = buffer_of[tensor.ref()]
            if room and wanted[buffer] == 0 and size[buffer] == room:
                return buffer
    return None


def bytes_of(tensor: Any) -> float:
    """By its static shape; 0 where that is not known, and for what is no number."""
    count = tensor.shape.num_elements() if tensor.shape.rank is not None else None
    numeric = tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool
    return float(count * tensor.dtype.size) if count is not None and numeric else 0.0


def measured(recipe: str, batch: int, recompute: bool) -> float:
    """MB above what was resident when the step was traced, of three steps."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        step, iterator, _, requests = built(recipe, batch, recompute, Path(folder))
        step._step.get_concrete_function(iterator, tf.constant([0.0, 0.0]))
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets the high-water mark back
        for _ in range(_STEPS):
            step(iterator, requests())
        return memory("VmHWM") - before


def compare(options: Any) -> None:
    def run(*extra: str) -> dict[str, Any]:
        command = [sys.executable, __file__, *extra]
        command += ["--recompute"] if options.recompute else []
        environment = os.environ | _ALLOCATOR | {"TF_USE_LEGACY_KERAS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr[-3000:])
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return row

    line = run("--trace", options.measure)
    real = run("--measure", options.measure, "--batch", str(options.batch), "--one")["peak_mb"]
    estimate = line["fixed_mb"] + line["image_mb"] * options.batch
    result = {
        "name": f"memory-{options.measure}",
        "ratio": round(estimate / real, 3),
        "ours": round(estimate, 1),
        "peer": round(real, 1),
        "unit": "MB beyond program and weights",
        "batch": options.batch,
        "recompute": options.recompute,
    }
    print(json.dumps(result))


def print_table(path: Path) -> None:
    """(state, fixed, an image), MB, of each recipe; the newest line counts."""
    rows = {(r["recipe"], r["recompute"]): r for r in read_lines(path)}
    for recompute, name in ((False, "PLAIN"), (True, "RECOMPUTED")):
        print(f"{name} = {{")
        for (recipe, again), row in sorted(rows.items()):
            if again is recompute:
                cells = (row["state_mb"], row["fixed_mb"], row["image_mb"])
                print(f'    "{recipe}": {cells},')
        print("}")
    print(json.dumps({"name": "memory-table", "recipes": len(rows)}))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
