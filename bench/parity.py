"""Loss parity: 100 steps of the OD API's own step and of ours on the same batches.

    .venv/bin/python bench/parity.py [--steps 100] [--recipe demo|efficientdet_d0]

One process, accumulation 1, the same initial weights, the same batches in the same order. The
peer is `object_detection.model_lib_v2.eager_train_step`, the step of `model_main_tf2`. Prints
the largest relative difference of the total loss over all steps; the last line is JSON.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.data import make_shapes
from launcher.odapi import compat
from tests.runtime.small_pipelines import demo_pipeline, small_recipe

ALLOWED = 1e-3


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--steps", type=int, default=100)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--recipe", default="demo")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "shapes"
        make_shapes(data, train_images=200, val_images=8, image_size=128, seed=0)
        if options.recipe == "demo":
            pipeline = demo_pipeline(data, batch=options.batch, steps=options.steps)
        else:
            pipeline = small_recipe(
                options.recipe, data, side=256, batch=options.batch, steps=options.steps
            )
        theirs, ours = curves(pipeline, options.steps, options.batch)
    differences = [abs(a - b) / abs(a) for a, b in zip(theirs, ours, strict=True)]
    worst = max(differences)
    print(f"{'step':>5} {'OD API':>10} {'ours':>10} {'relative':>10}")
    for i in sorted({0, 1, 9, 24, 49, 74, options.steps - 1} & set(range(options.steps))):
        print(f"{i + 1:>5} {theirs[i]:>10.6f} {ours[i]:>10.6f} {differences[i]:>10.2e}")
    print(f"largest relative difference over {options.steps} steps: {worst:.2e}")
    result = {
        "name": f"parity-{options.recipe}",
        "ratio": worst,
        "ours": ours[-1],
        "peer": theirs[-1],
        "unit": "relative loss difference (largest); last losses",
    }
    print(json.dumps(result))
    return 0 if worst <= ALLOWED else 1


def curves(pipeline: Any, steps: int, batch: int) -> tuple[list[float], list[float]]:
    """The total losses of the OD API's step and of ours, from the same weights and batches."""
    compat.load()
    import tensorflow as tf
    from object_detection import model_lib_v2

    from launcher.runtime.inputs import train_dataset
    from launcher.runtime.model import build_model, build_optimizer
    from launcher.runtime.step import Requests, TrainStep

    tf.keras.utils.set_random_seed(0)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")

    def trainer() -> tuple[Any, Any, Any]:
        with strategy.scope():
            done = tf.Variable(0, dtype=tf.int64, trainable=False)
            model = build_model(pipeline, strategy)
            optimizer, _ = build_optimizer(pipeline, done, model.trainable_variables)
        return model, optimizer, done

    (peer, peer_optimizer, peer_done), (model, optimizer, done) = trainer(), trainer()
    for target, source in zip(model.variables, peer.variables, strict=True):
        target.assign(source)
    stream = train_dataset(pipeline, model, workers=1, worker=0, batch=batch, seed=0).take(steps)
    batches = tf.data.Dataset.from_tensor_slices(
        tf.nest.map_structure(lambda *pieces: tf.stack(pieces), *stream)
    )
    train = pipeline.train_config

    @tf.function(autograph=False)
    def od_api_step(features: Any, labels: Any) -> Any:
        losses = model_lib_v2.eager_train_step(
            peer,
            features,
            labels,
            train.unpad_groundtruth_tensors,
            peer_optimizer,
            training_step=peer_done,
            add_regularization_loss=train.add_regularization_loss,
            clip_gradients_value=train.gradient_clipping_by_norm or None,
        )
        peer_done.assign_add(1)
        return losses["Loss/total_loss"]

    theirs = [float(od_api_step(dict(f), dict(la))) for f, la in batches]
    with strategy.scope():
        step = TrainStep(strategy, model, optimizer, done, train, accumulation_steps=1)
    again = iter(batches.apply(tf.data.experimental.assert_cardinality(steps)))
    return theirs, [step(again, Requests()).loss for _ in range(steps)]


if __name__ == "__main__":
    sys.exit(main())
