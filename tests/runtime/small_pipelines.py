"""Small pipelines and real training steps in this process, for the tests of the worker."""

from pathlib import Path
from typing import Any

from launcher import recipes
from launcher.odapi import compat
from launcher.odapi import pipeline as pipeline_files

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def point_at(message: Any, data: Path, *, batch: int, steps: int) -> Any:
    """`message` with its records, label map, batch and number of steps replaced."""
    train = message.train_config
    train.batch_size, train.num_steps = batch, steps
    train.ClearField("fine_tune_checkpoint")
    train.ClearField("fine_tune_checkpoint_type")
    del message.eval_input_reader[1:]
    for reader, name in (
        (message.train_input_reader, "train"),
        (message.eval_input_reader[0], "val"),
    ):
        reader.label_map_path = str(data / "label_map.pbtxt")
        reader.tf_record_input_reader.input_path[:] = [str(data / f"{name}.record-*")]
        reader.shuffle_buffer_size = 64
    return message


def small_recipe(name: str, data: Path, *, side: int, batch: int, steps: int = 20) -> Any:
    """A published recipe at a small input size, for three classes, with a gentle warm-up."""
    message = recipes.get(name).build()
    model = getattr(message.model, message.model.WhichOneof("model"))
    model.num_classes = 3
    resizer = getattr(model.image_resizer, model.image_resizer.WhichOneof("image_resizer_oneof"))
    for field in ("height", "width", "min_dimension", "max_dimension"):
        if resizer.HasField(field) if field in resizer.DESCRIPTOR.fields_by_name else False:
            setattr(resizer, field, side)
    if message.model.HasField("faster_rcnn"):
        # Fewer crops for the second stage, the same code.
        model.first_stage_max_proposals = model.second_stage_batch_size = 16
    for option in message.train_config.data_augmentation_options:
        if option.HasField("random_scale_crop_and_pad_to_square"):
            option.random_scale_crop_and_pad_to_square.output_size = side
    return point_at(message, data, batch=batch, steps=steps)


def demo_pipeline(data: Path, *, batch: int, steps: int) -> Any:
    message = point_at(pipeline_files.read(CONFIGS / "demo.config"), data, batch=batch, steps=steps)
    optimizer = message.train_config.optimizer.momentum_optimizer
    cosine = optimizer.learning_rate.cosine_decay_learning_rate
    cosine.total_steps, cosine.warmup_steps = steps, max(1, steps // 4)
    return message


def steps_of(
    message: Any, *, per_replica_batch: int, accumulation: int = 1, replicas: int = 1, count: int
) -> tuple[list[Any], Any]:
    """`count` results of the worker's own step in this process, and the model."""
    step, iterator, model = step_of(
        message, per_replica_batch=per_replica_batch, accumulation=accumulation, replicas=replicas
    )
    from launcher.runtime.step import Requests

    results = [step(iterator, Requests()) for _ in range(count)]
    assert step.traces == 1
    return results, model


def step_of(
    message: Any, *, per_replica_batch: int, accumulation: int = 1, replicas: int = 1
) -> tuple[Any, Any, Any]:
    """The worker's own step in this process, the iterator of its input, and the model."""
    compat.load()
    import tensorflow as tf

    from launcher.runtime.inputs import train_dataset
    from launcher.runtime.model import build_model, build_optimizer
    from launcher.runtime.step import TrainStep

    strategy = (
        tf.distribute.OneDeviceStrategy("/cpu:0")
        if replicas == 1
        else tf.distribute.MirroredStrategy([f"/cpu:{i}" for i in range(replicas)])
    )
    tf.random.set_seed(0)
    with strategy.scope():
        done = tf.Variable(
            0,
            dtype=tf.int64,
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        model = build_model(message, strategy)
        optimizer, _ = build_optimizer(message, done, model.trainable_variables)
        step = TrainStep(strategy, model, optimizer, done, message.train_config, accumulation)
    data = strategy.distribute_datasets_from_function(
        lambda _: train_dataset(
            message, model, workers=1, worker=0, batch=per_replica_batch, seed=0
        )
    )
    return step, iter(data), model
