"""The effective pipeline.config: the model's, with this run's batch, schedule, data and weights."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message, message
from launcher.planning.arithmetic import Split, scale_of
from launcher.planning.data import PLACEHOLDER, V2, DataPlan, FineTune
from launcher.planning.schedule import optimizer_name, rescale
from launcher.planning.source import Source

METRICS = "coco_detection_metrics"


def effective(
    source: Source,
    split: Split,
    data: DataPlan,
    fine_tune: FineTune | None,
    *,
    lr_scaling: str,
    sync_batch_norm: bool | None,
    freeze: Sequence[str] | None = None,
) -> Message:
    """A patched copy. `sync_batch_norm` None leaves the layers as the model has them; `freeze`
    None keeps the file's freeze_variables.

    Raises SpecError when the schedule cannot be scaled that far.
    """
    pipeline = type(source.pipeline)()
    pipeline.CopyFrom(source.pipeline)
    _set_schedule(pipeline.train_config, source, split, lr_scaling)
    _set_weights(pipeline.train_config, fine_tune)
    if freeze is not None:
        pipeline.train_config.freeze_variables[:] = freeze
    _set_data(pipeline, data)
    if data.num_classes is not None:
        model = getattr(pipeline.model, pipeline.model.WhichOneof("model"))
        if "num_classes" in model.DESCRIPTOR.fields_by_name:
            model.num_classes = data.num_classes
    if sync_batch_norm is not None:
        set_sync_batch_norm(pipeline.model, sync_batch_norm)
    # Meant for TPUs, where its input rounds the images; elsewhere the OD API's own loop clears it.
    pipeline.train_config.use_bfloat16 = False
    # Averages are kept by our own worker, under names that the OD API's tools do not know.
    pipeline.train_config.optimizer.use_moving_average = False
    pipeline.eval_config.use_moving_averages = False
    del pipeline.eval_config.metrics_set[:]
    pipeline.eval_config.metrics_set.append(METRICS)
    return pipeline


def average_decay(asked: float | None, source: Source) -> float | None:
    """Of the average of the weights that is scored. Without train.ema_decay it is the file's own,
    when its optimizer keeps one (a file that says nothing does) and its evaluation uses it.

    Raises SpecError for a decay of the file that is used and is none.
    """
    optimizer = source.pipeline.train_config.optimizer
    if asked is not None:
        return asked
    if not (optimizer.use_moving_average and source.pipeline.eval_config.use_moving_averages):
        return None
    decay = float(f"{optimizer.moving_average_decay:.6g}")
    if not 0 < decay < 1:
        place = source.place("train_config", "optimizer", "moving_average_decay")
        remedy = "Use a number such as 0.9998, or eval_config.use_moving_averages: false"
        raise SpecError([Problem(place, f"must be between 0 and 1, not {decay:g}", remedy)])
    return decay


def set_sync_batch_norm(model: Message, wanted: bool) -> None:
    """The same normalization in the other of the two fields; they exclude each other."""
    now, then = ("batch_norm", "sync_batch_norm") if wanted else ("sync_batch_norm", "batch_norm")
    for hyperparams in _all_of(model, "Hyperparams"):
        if hyperparams.HasField(now):
            kept = message("BatchNorm")()
            kept.CopyFrom(getattr(hyperparams, now))
            getattr(hyperparams, then).CopyFrom(kept)


def is_hourglass(model: Message) -> bool:
    """CenterNet's, whose network is no Keras functional model, as other backbones are."""
    return model.WhichOneof("model") == "center_net" and bool(
        model.center_net.feature_extractor.type.startswith("hourglass")
    )


def is_synchronised(model: Message) -> bool:
    return any(h.HasField("sync_batch_norm") for h in _all_of(model, "Hyperparams"))


def _set_schedule(config: Message, source: Source, split: Split, lr_scaling: str) -> None:
    reference = source.train_config
    if optimizer_name(config) == optimizer_name(reference):
        own = getattr(config.optimizer, optimizer_name(config)).learning_rate
        own.CopyFrom(getattr(reference.optimizer, optimizer_name(reference)).learning_rate)
    else:
        # A rate belongs to its optimizer as it does to its batch.
        config.optimizer.CopyFrom(reference.optimizer)
    config.num_steps = source.reference.total_steps
    config.batch_size = split.global_batch
    scale = scale_of(split.global_batch, source.reference.batch)
    rates = scale if lr_scaling == "linear" else Fraction(1)
    rescale(config, steps=scale, rates=rates, place=source.reference_place)


def _set_weights(config: Message, fine_tune: FineTune | None) -> None:
    for field in ("fine_tune_checkpoint", "fine_tune_checkpoint_type", "from_detection_checkpoint"):
        config.ClearField(field)
    if fine_tune is not None:
        config.fine_tune_checkpoint = fine_tune.checkpoint
        config.fine_tune_checkpoint_type = fine_tune.kind
        config.fine_tune_checkpoint_version = V2


def _set_data(pipeline: Message, data: DataPlan) -> None:
    _set_reader(pipeline.train_input_reader, data.train, data.label_map)
    if data.val and len(pipeline.eval_input_reader) > 1:
        del pipeline.eval_input_reader[1:]
    if not pipeline.eval_input_reader:
        pipeline.eval_input_reader.add()
    for reader in pipeline.eval_input_reader:
        _set_reader(reader, data.val, data.label_map)
        reader.shuffle = False
        reader.num_epochs = 1


def _set_reader(reader: Message, paths: Sequence[str], label_map: str) -> None:
    if paths:
        del reader.tf_record_input_reader.input_path[:]
        reader.tf_record_input_reader.input_path.extend(paths)
    elif not reader.tf_record_input_reader.input_path:
        reader.tf_record_input_reader.input_path.append(PLACEHOLDER)
    if label_map:
        reader.label_map_path = label_map


def _all_of(parent: Message, name: str) -> Iterator[Message]:
    """All messages of one type in `parent`, however deep."""
    if parent.DESCRIPTOR.name == name:
        yield parent
    for field, value in parent.ListFields():
        # The schema's maps are from words to numbers: no message is in them.
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for child in value if field.is_repeated else (value,):
            yield from _all_of(child, name)
