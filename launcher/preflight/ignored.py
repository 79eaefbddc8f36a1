"""ignored-fields: what a pipeline.config sets and the OD API does not read in TensorFlow 2.

Found by asking which of the schema's fields model_lib_v2.py, inputs.py and the builders of
tf-models-research-object-detection 2.8.0 name; the others are read by its TensorFlow 1 code alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from launcher.odapi.protos import Message
from launcher.preflight.finding import Cost, Finding, Severity
from launcher.preflight.subject import Subject

NAME = "ignored-fields"


@dataclass(frozen=True)
class Ignored:
    """`meant` is what its writer wants, `here` what launcher does; `lost` when it is missed."""

    meant: str
    here: str
    severity: Severity = Severity.INFO
    lost: float = 0.0


_TRAIN = {
    "freeze_variables": Ignored(
        "variables that are not trained", "they are frozen (train.freeze)", Severity.WARNING, 0.05
    ),
    "update_trainable_variables": Ignored(
        "the only variables that are trained", "they are", Severity.WARNING, 0.05
    ),
    "bias_grad_multiplier": Ignored(
        "another rate for biases", "biases have the rate of all", Severity.WARNING, 0.02
    ),
    "keep_checkpoint_every_n_hours": Ignored(
        "older checkpoints are kept", "the last train.keep_checkpoints are"
    ),
}
"""Those whose loss is noticed: told one by one."""

_USELESS = (
    "sync_replicas",
    "replicas_to_aggregate",
    "startup_delay_steps",
    "batch_queue_capacity",
    "num_batch_queue_threads",
    "prefetch_queue_capacity",
    "summarize_gradients",
)
"""Of TensorFlow 1's parameter servers and queues: they have no meaning any more."""

_EVAL = (
    "num_examples",
    "max_evals",
    "eval_interval_secs",
    "save_graph",
    "ignore_groundtruth",
    "visualization_export_dir",
    "eval_master",
    "eval_instance_masks",
)
_READER = ("queue_capacity", "min_after_dequeue", "prefetch_size")
"""export_path is read (eval_util.py, for LVIS), and an external_input_reader stops the OD API."""


def check(subject: Subject) -> Iterator[Finding]:
    file = subject.file
    if file is None:
        return
    for field in _set_in(file.train_config, tuple(_TRAIN)):
        yield _missed(subject, field, _TRAIN[field])
    if file.train_config.use_bfloat16:
        meant = Ignored(
            "bfloat16", "float32 is trained, as the recipe's rate was not changed for it"
        )
        yield _missed(subject, "use_bfloat16", meant, "is for TPUs")
    if file.train_config.load_all_detection_checkpoint_vars:
        meant = Ignored("all of a checkpoint, its heads too", "train.fine_tune_type full does it")
        yield _missed(subject, "load_all_detection_checkpoint_vars", meant)
    if file.HasField("graph_rewriter"):
        yield Finding(
            name=NAME,
            severity=Severity.WARNING,
            place=subject.place_in_file("graph_rewriter"),
            evidence="graph_rewriter is not read in TensorFlow 2: nothing is trained for 8 bits",
            cost=Cost("quantized later, it loses more than a model that was trained for it"),
            remedy="Remove it",
        )
    yield from _useless(subject, file)


def _missed(
    subject: Subject, field: str, ignored: Ignored, why: str = "is not read in TensorFlow 2"
) -> Finding:
    severity = ignored.severity
    if severity is Severity.WARNING and not ignored.here.startswith("biases"):
        severity = subject.mended
    return Finding(
        name=NAME,
        severity=severity,
        place=subject.place_in_file("train_config", field),
        evidence=f"{field} {why}: the OD API ignores it without a word",
        cost=Cost(f"what was meant does not happen: {ignored.meant}", ignored.lost),
        remedy=f"Here {ignored.here}",
        edits=(f"batch.global_batch={subject.run.batch}",) if severity is subject.mended else (),
    )


def _useless(subject: Subject, file: Message) -> Iterator[Finding]:
    train = _set_in(file.train_config, _USELESS)
    scored = [f"eval_config.{name}" for name in _set_in(file.eval_config, _EVAL)]
    read = [
        f"{name}.{field}" for name, reader in _readers(file) for field in _set_in(reader, _READER)
    ]
    if not train and not scored and not read:
        return
    section, _, field = (*scored, *read, "")[0].partition(".")
    first = ("train_config", train[0]) if train else (section, field)
    yield Finding(
        name=NAME,
        severity=Severity.INFO,
        place=subject.place_in_file(*first),
        evidence=f"{', '.join([*train, *scored, *read])}: of TensorFlow 1, read by nobody",
        cost=Cost("nothing"),
        remedy="Remove them",
    )


def _readers(file: Message) -> list[tuple[str, Message]]:
    """As far as they are used: the first of eval_input_reader."""
    scored = [("eval_input_reader", reader) for reader in list(file.eval_input_reader)[:1]]
    return [("train_input_reader", file.train_input_reader), *scored]


def _set_in(message: Message, fields: tuple[str, ...]) -> list[str]:
    return [field.name for field, _ in message.ListFields() if field.name in fields]
