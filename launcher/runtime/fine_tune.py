"""Starting weights from another checkpoint, counted: none restored is an error."""

from typing import Any

import numpy as np
import tensorflow as tf

from launcher.errors import ConfigError
from launcher.odapi.protos import Message


def restore(model: Any, train_config: Message) -> str:
    """Load `fine_tune_checkpoint` into the built model. Returns a line that says what was restored.

    The OD API takes an empty type as classification and is silent when nothing matches; here the
    type is given and at least one variable must change. Raises ConfigError.
    """
    path, kind = train_config.fine_tune_checkpoint, train_config.fine_tune_checkpoint_type
    if not tf.io.gfile.exists(f"{path}.index"):
        raise ConfigError(
            "no such checkpoint",
            place=path,
            remedy="Give the prefix before .index, as /weights/ckpt-0",
        )
    if "_CHECKPOINTABLE_OBJECT_GRAPH" not in dict(tf.train.list_variables(path)):
        raise ConfigError(
            "a checkpoint of TensorFlow 1 names, not of objects",
            place=path,
            remedy="Use a checkpoint that TensorFlow 2 saved",
        )
    variables = model.variables
    before = [v.numpy() for v in variables]
    try:
        objects = model.restore_from_objects(fine_tune_checkpoint_type=kind)
        checkpoint = tf.train.Checkpoint(**objects)
        checkpoint.restore(path).expect_partial().assert_existing_objects_matched()
    # IndexError: a data file is cut short.
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as e:
        reason = str(e).strip().splitlines()[0][:200]
        raise ConfigError(
            f"does not fit this model as '{kind}' ({reason})",
            place=path,
            remedy="Use a checkpoint of the same architecture, or another fine_tune_type",
        ) from None
    changed = sum(
        not np.array_equal(old, v.numpy()) for old, v in zip(before, variables, strict=True)
    )
    if changed == 0:
        raise ConfigError(
            f"restores none of the model's {len(variables)} variables as '{kind}'",
            place=path,
            remedy="Use a checkpoint of the same architecture, or another fine_tune_type",
        )
    return f"fine-tuning: {changed} of {len(variables)} variables restored from {path} as '{kind}'"
