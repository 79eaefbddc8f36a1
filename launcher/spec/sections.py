"""The sections of a job spec. Each setting is documented beneath it: meaning, unit, default, why.

None always means "the default", which planning works out from the recipe and the cluster. The
text beneath a field is its description in `launcher schema`.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from launcher.spec.fields import (
    LARGEST,
    Count,
    CountOrNone,
    DataPath,
    Expressions,
    FilePath,
    Location,
    Patterns,
    Positive,
    offered,
    refusal,
)
from launcher.spec.kubernetes_fields import Quantity
from launcher.spec.section import Section


class Synthetic(Section):
    """Images that `launcher data shapes` draws: squares, circles and triangles with exact boxes."""

    kind: Literal["shapes"] = "shapes"
    """What is drawn. There is one kind, the default."""
    train_images: Annotated[int, Field(ge=4, le=LARGEST)] = 2000
    """Images in the train set, at least 4: one for each shard. Default 2000: those of
    configs/demo.yaml."""
    val_images: Count = 200
    """Images in the val set. Default 200: scored in seconds."""
    image_size: Annotated[int, Field(ge=32, le=2048)] = 128
    """Side of the square images in pixels. Default 128: the smallest that SSD MobileNet takes."""
    seed: CountOrNone = 0
    """Seed of the drawing. The same seed draws the same images. Default 0."""


class Data(Section):
    """The records that are trained and scored on."""

    train: Patterns | None = None
    """TFRecord files to train on: a path, a glob pattern, or a list of them. Name all shards: one
    shard of 100 is 1 % of the images. Of a mounted file system: no URLs. Default: what the
    pipeline.config names."""
    val: Patterns | None = None
    """TFRecord files to score on, as `train`. Default: what the pipeline.config names."""
    label_map: DataPath | None = None
    """Label map (.pbtxt) with the classes. Default: what the pipeline.config names."""
    dataset: Literal["coco2017", "custom"] | None = None
    """coco2017 compares with the published image counts and mAP, custom with none. Default:
    coco2017 when the model is a published one, else custom."""
    train_images: Count | None = None
    """Images expected in the train records. Default: 118287 for coco2017,
    else not checked."""
    val_images: Count | None = None
    """Images expected in the val records. Default: 5000 for coco2017, else not checked."""
    num_classes: Count | None = None
    """Classes that the model tells apart. Default: the recipe's for coco2017 (90: the highest
    COCO id); for custom data the highest id of the label map."""
    max_bad_records: CountOrNone = 0
    """Damaged train records that a worker may count and skip before it stops. Default 0: the first
    one ends the run with its file, number and offset."""
    synthetic: Synthetic | None = None
    """Draw the data set instead of reading one: train, val and label_map then name what is drawn
    below run_dir, and dataset is custom. Default: none."""


class Batch(Section):
    """How many images make one optimizer step, and how they are divided.

    global_batch = workers x max(1, gpus_per_worker) x per_replica_batch x accumulation_steps
    """

    global_batch: Count | None = None
    """Images in one optimizer step, over all replicas. Default: the recipe's, because its
    learning rate belongs to it; accumulation makes it fit on fewer devices."""
    per_replica_batch: Count | None = None
    """Images that one device computes at once: what its memory holds. Default: the recipe's
    images per core, because batch normalization was tuned on that many; for a pipeline.config
    its batch_size divided by the replicas."""
    lr_scaling: Literal["linear", "none"] = "linear"
    """linear: the recipe's rate times global_batch / recipe's batch (arXiv 1706.02677), the
    default. none: the rate is kept as it is; with a pipeline_config that file's own batch, rate
    and schedule are used instead of the published recipe's. Steps are scaled in both cases, so
    that the same number of images is seen."""
    reference_config: FilePath | None = None
    """A pipeline.config whose batch, rate and steps stand where a published recipe's would, for a
    model that has none: what was found good for this model once, on whatever devices. Its model
    section must be that of pipeline_config. Default: none."""


class CheckpointEvery(Section):
    """Whichever comes first. The last step always has a checkpoint."""

    steps: Count = 1000
    """Optimizer steps between checkpoints. Default 1000."""
    minutes: Positive = 15.0
    """Minutes between checkpoints. Default 15: what a crash may cost at most."""


class Train(Section):
    """What is trained, and from where."""

    precision: Annotated[
        Literal["float32", "mixed_bfloat16"],
        offered(mixed_float16="is not offered: the OD API's loss fails on it; Use float32"),
    ] = "float32"
    """Number format of the computation. float32, the default. mixed_bfloat16, for SSD and
    EfficientDet: the network in bfloat16; weights, loss, target assignment and the moments of
    normalization in float32. It was measured with one small detector on a CPU."""
    loss_normalizer: Literal["global", "micro_batch"] = "global"
    """What the summed loss is divided by. global: the matched anchors of the whole global batch,
    the default: the same images give the same update however they are split. micro_batch: those
    of each micro-batch, as the OD API does."""
    norm: Literal["auto", "batch", "moving", "renorm", "group", "frozen"] = "auto"
    """Normalization layers, backbone included. auto, the default: by images per statistic, model
    and starting weights; `launcher plan` says which and why. batch: as published. moving:
    batch normalization whose four means, two of them the gradient's, are averaged over the last
    step (after arXiv 2001.06838). renorm: batch renormalization (arXiv 1702.03275). group: group
    normalization (arXiv 1803.08494). frozen: the statistics of the starting checkpoint."""
    statistics_images: Count | None = None
    """Images that one set of batch normalization's moments is taken over; it divides
    per_replica_batch. Default: all of per_replica_batch. The recipe's images per core reproduce
    its statistics on a larger device (arXiv 1705.08741)."""
    sync_batch_norm: Literal["auto", True, False] = "auto"
    """Share batch normalization's statistics among the replicas. Default auto: on when there is
    more than one and per_replica_batch is below the recipe's images per core (8 without a
    recipe). It reaches every norm layer, the backbone's too."""
    fine_tune_checkpoint: Location | None = None
    """Checkpoint to start from: its path without .index. Needs fine_tune_type. Default: the
    pipeline.config's, when it names a real one; else training starts from random weights."""
    fine_tune_type: Literal["classification", "detection", "full"] | None = None
    """What is read from the checkpoint. classification: the backbone; detection: the feature
    extractor; full: everything, the heads included. No default: a wrong guess loads nothing."""
    checkpoint_every: CheckpointEvery = CheckpointEvery()
    """How often the training is saved."""
    keep_checkpoints: Count = 7
    """How many of the newest checkpoints are kept. Default 7, as the OD API keeps."""
    ema_decay: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] | None = None
    """Decay of a moving average of the weights, between 0 and 1, as 0.9998: the average is what is
    scored and exported. Default: none, as in the published configs; for a pipeline.config whose
    evaluation uses averages (eval_config.use_moving_averages), its own."""
    freeze: Expressions | None = None
    """Regular expressions: variables whose names they match are not trained. Default: the
    pipeline.config's freeze_variables, which the OD API ignores in TensorFlow 2."""
    recompute: bool = False
    """Compute the activations of the backbone's blocks again in the backward pass: a larger
    per_replica_batch in the same memory for about a third more time. Default false."""
    seed: CountOrNone = 0
    """Seed of weights, shuffling and augmentation. Default 0."""


class Evaluate(Section):
    """When checkpoints are scored, and what the score is compared with."""

    every: Literal["checkpoint", "newest", "last"] = "newest"
    """checkpoint: score each one; newest: skip what is overtaken, the default, so that scoring
    never falls behind; last: the last one only. The last one is always scored."""
    gpus: Annotated[int, Field(ge=0, le=8)] | None = None
    """GPUs of the evaluator. Default: 1 when the workers have GPUs, else 0."""
    cpus: Annotated[float, Field(gt=0, le=4096, allow_inf_nan=False)] | None = None
    """CPU cores of the evaluator on a cluster. Default: cluster.cpus_per_worker; on Ray none."""
    memory: Quantity | None = None
    """Main memory of the evaluator on a cluster, as 32Gi. Default: cluster.memory_per_worker; on
    Ray none."""
    target_map: Annotated[float, Field(le=100, allow_inf_nan=False)] | None = None
    """Box mAP to reach, in COCO points (0-100). Default: the recipe's published mAP for
    coco2017, else none."""
    tolerance: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.5
    """COCO points below the target that still count as reached. Default 0.5: two runs of the
    same recipe differ by about as much."""

    @field_validator("target_map")
    @classmethod
    def _in_points(cls, value: float | None) -> float | None:
        if value is None or value > 1:
            return value
        what = f"{value:g} is too low: target_map is in COCO points"
        if value > 0:
            raise refusal(f"{what}: did you mean {float(f'{value * 100:.6g}'):g}?")
        raise refusal(what, "Give a number above 1 and up to 100, or remove the key")


class Restart(Section):
    """What happens when a worker dies or hangs: the whole group starts from the last checkpoint."""

    max_restarts: Annotated[int, Field(ge=0, le=1000)] = 3
    """Restarts before the run is given up. Default 3."""
    stall_timeout_seconds: Annotated[float, Field(ge=1, le=86_400, allow_inf_nan=False)] = 300.0
    """Seconds without a finished step after which a worker counts as hung. Default 300: longer
    than a first step with its tracing, and than writing a checkpoint."""
