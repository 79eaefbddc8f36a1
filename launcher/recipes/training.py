"""How a recipe trains: batch, schedule and optimizer, and the sections of a pipeline they fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fields = dict[str, Any]
"""A protobuf message as nested dicts. What is absent stays unset; `{}` is a message that is set."""

UNSET_PATH = "PATH_TO_BE_CONFIGURED"
LABEL_MAP = f"{UNSET_PATH}/label_map.txt"
TRAIN_RECORDS = f"{UNSET_PATH}/train2017-?????-of-00256.tfrecord"
VAL_RECORDS = f"{UNSET_PATH}/val2017-?????-of-00032.tfrecord"

# Fields of train_config that several families set alike. TF2 does not read those of TPU.
TPU = {"sync_replicas": True, "startup_delay_steps": 0, "replicas_to_aggregate": 8}
BFLOAT16 = {"use_bfloat16": True}
PADDED = {"max_number_of_boxes": 100, "unpad_groundtruth_tensors": False}


@dataclass(frozen=True)
class Training:
    """Batch in images over all cores; rates and steps per optimizer step.

    Without `drops` the rate falls as a cosine to 0 at the last step, after a linear warm-up. With
    them it starts at its peak and changes at each (step, rate): there is no warm-up, so
    warmup_steps is 0 and warmup_learning_rate the peak.
    """

    batch: int
    steps: int
    learning_rate: float
    warmup_learning_rate: float
    warmup_steps: int
    drops: tuple[tuple[int, float], ...] = ()
    optimizer: str = "momentum"  # momentum | adam

    @property
    def schedule(self) -> str:
        return "steps" if self.drops else "cosine"


def train_config(
    training: Training,
    checkpoint: str,
    checkpoint_type: str,
    augmentation: Sequence[Fields],
    **more: Any,
) -> Fields:
    return {
        "batch_size": training.batch,
        "num_steps": training.steps,
        "optimizer": _optimizer(training),
        "data_augmentation_options": list(augmentation),
        "fine_tune_checkpoint": checkpoint,
        "fine_tune_checkpoint_type": checkpoint_type,
        "fine_tune_checkpoint_version": "V2",
        **more,
    }


def train_reader(**more: Any) -> Fields:
    return {"label_map_path": LABEL_MAP, "tf_record_input_reader": _records(TRAIN_RECORDS), **more}


def eval_reader(**more: Any) -> Fields:
    once = {"shuffle": False, "num_epochs": 1}
    records = _records(VAL_RECORDS)
    return {"label_map_path": LABEL_MAP, "tf_record_input_reader": records, **once, **more}


def eval_config(**more: Any) -> Fields:
    return {"metrics_set": ["coco_detection_metrics"], "use_moving_averages": False, **more}


def _records(pattern: str) -> Fields:
    return {"input_path": [pattern]}


def _optimizer(training: Training) -> Fields:
    rate = _drops(training) if training.drops else _cosine(training)
    kinds: Mapping[str, Fields] = {
        "momentum": {
            "momentum_optimizer": {"learning_rate": rate, "momentum_optimizer_value": 0.9}
        },
        "adam": {"adam_optimizer": {"learning_rate": rate, "epsilon": 1e-7}},
    }
    return {**kinds[training.optimizer], "use_moving_average": False}


def _cosine(training: Training) -> Fields:
    return {
        "cosine_decay_learning_rate": {
            "learning_rate_base": training.learning_rate,
            "total_steps": training.steps,
            "warmup_learning_rate": training.warmup_learning_rate,
            "warmup_steps": training.warmup_steps,
        }
    }


def _drops(training: Training) -> Fields:
    schedule = [{"step": step, "learning_rate": rate} for step, rate in training.drops]
    return {
        "manual_step_learning_rate": {
            "initial_learning_rate": training.learning_rate,
            "schedule": schedule,
        }
    }
