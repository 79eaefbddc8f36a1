"""Specs as text: what a run keeps, what `launcher init` prints, and the JSON Schema."""

import re
from typing import Any

import yaml

from launcher.spec.fields import label_of
from launcher.spec.model import JobSpec, plain

_LINE_BREAK = re.compile(r"(?<!\n)\n(?!\n)")

_TEMPLATE = """\
# {title}: the published recipe.
# {reference}
# {source}
#
#   launcher plan FILE      batch, learning rate and steps on these devices, and why
#   launcher submit FILE    train and score it
#
# A line that begins with # is a setting left at its default. `launcher schema` explains them all.

apiVersion: launcher/v1
name: {name}{pad_name}# the run's identity, and its folder below run_dir
recipe: {recipe}

data:
  # All shards: one of 100 is 1 % of the images. `launcher data convert` makes them, with
  #   instances_train2017.json train2017/ -o /data/coco_train --prefix coco_train
  #   instances_val2017.json val2017/ -o /data/coco_val --prefix coco_val --shards 50
  train: /data/coco_train/coco_train.record-?????-of-00100
  val: /data/coco_val/coco_val.record-?????-of-00050
  label_map: /data/coco_train/label_map.pbtxt
  dataset: coco2017           # custom for images of your own: then no published mAP is expected

batch:
  # workers x GPUs x per_replica_batch x accumulation = global_batch; the accumulation is derived.
  global_batch: {batch}{pad_batch}# another one scales the learning rate and the steps
  per_replica_batch: {per_replica}{pad_per}# what one GPU's memory holds; the recipe has {per_core}
                              # (batch norm over few images costs mAP: docs/recipes.md)
  # lr_scaling: linear        # none keeps the recipe's rate

train:
  # Without a checkpoint training starts from random weights; the recipe starts from a
  # {checkpoint} checkpoint: its mAP is not reached without.
  # fine_tune_checkpoint: /data/checkpoints/ckpt-0
  # fine_tune_type: {checkpoint}
  # sync_batch_norm: auto     # on when a replica holds fewer images than in the recipe
  # checkpoint_every: {{steps: 1000, minutes: 15}}
  seed: 0

cluster:
  workers: 1
  gpus_per_worker: 1          # 0 trains on the CPU

evaluate:
  every: newest               # checkpoint scores each one; the last one is always scored
{target}
# restart: {{max_restarts: 3, stall_timeout_seconds: 300}}
backend:
  kind: local                 # processes of this machine
# run_dir: ./runs             # every worker and the evaluator must see it
"""


def to_yaml(spec: JobSpec) -> str:
    """The whole spec, defaults included; reading it back gives an equal one."""
    text: str = yaml.safe_dump(plain(spec), sort_keys=False, allow_unicode=True, width=100)
    return text


def template(recipe: str) -> str:
    """A commented spec of a published recipe. Raises UsageError for an unknown name."""
    from launcher import recipes

    found = recipes.get(recipe)
    config = found.build().train_config
    per_replica = min(found.images_per_core, config.batch_size)
    points = found.published_map
    reference = f"Batch {config.batch_size}, {config.num_steps:,} steps" + (
        f", published COCO mAP {points:g}." if points is not None else "."
    )
    return _TEMPLATE.format(
        title=found.title,
        reference=reference,
        source=found.source,
        name=label_of(found.name),
        pad_name=_pad(f"name: {label_of(found.name)}"),
        recipe=found.name,
        batch=config.batch_size,
        pad_batch=_pad(f"  global_batch: {config.batch_size}"),
        per_replica=per_replica,
        pad_per=_pad(f"  per_replica_batch: {per_replica}"),
        per_core=found.images_per_core,
        checkpoint=config.fine_tune_checkpoint_type or "classification",
        target=_target(points),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a job spec, for editors: each field says what it means."""
    schema: dict[str, Any] = _unwrapped(JobSpec.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _unwrapped(value: Any) -> Any:
    """Descriptions are wrapped in the source; an editor wraps them itself."""
    if isinstance(value, list):
        return [_unwrapped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        k: _LINE_BREAK.sub(" ", v) if k == "description" and isinstance(v, str) else _unwrapped(v)
        for k, v in value.items()
    }


def _target(points: float | None) -> str:
    if points is None:
        return "  # target_map: 30.0          # COCO points; none is published for this model\n"
    line = f"  # target_map: {points:g}"
    return f"{line}{_pad(line)}# COCO points; tolerance: 0.5\n"


def _pad(line: str) -> str:
    """Spaces up to the column of the comments."""
    return " " * max(1, 30 - len(line))
