"""`launcher overfit`: can this model learn a few of these images by heart?

A chain of records, labels, boxes, loss, optimizer, checkpoint and evaluation that cannot has a
fault in it, and no amount of training mends that. One that can leaves amount, rate and batch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from launcher import api
from launcher.backends.base import JobHandle
from launcher.diagnose import derive, images
from launcher.diagnose.verdict import Verdict, losses, points
from launcher.errors import UsageError
from launcher.planning import Plan
from launcher.planning.norm import ENOUGH
from launcher.preflight.finding import Finding
from launcher.spec import JobSpec
from launcher.storage import read_json

KIND = "overfit"
IMAGES = 16
TARGET = 80.0
"""COCO points. Sixteen real images, half of whose objects have no anchor over 0.5 IoU, gave 96.1
(configs/overfit-coco-tiny.yaml); the same at half of the steps 57.9."""
STEPS = 400
"""Those of configs/overfit-coco-tiny.config, at a rate of 0.05."""
_SCORES = 4
"""Checkpoints on the way, so that one sees whether the mAP still rises."""
_FELL = 0.25
"""Of the first loss. overfit-coco-tiny had 0.035 of it in the third tenth of its steps, 0.002 in
the last."""
_RISES = 0.05
"""mAP between the last two scores."""


@dataclass(frozen=True)
class Asked:
    """`rate` None: the plan's, by the linear rule."""

    images: int = IMAGES
    steps: int = STEPS
    rate: float | None = None


def prepare(
    spec: JobSpec, asked: Asked, *, replace: bool, force: bool, say: Callable[[str], None]
) -> api.Prepared:
    """Picks the images, writes them and the run's spec beside the runs, and checks. `say` is told
    of records that were passed over.

    Raises UsageError when the train set has not so many, or a run of this name is there.
    """
    if asked.images < 1:
        raise UsageError(f"{asked.images} images", place="--images", remedy="Give at least 1")
    api.draw(spec)
    plan = api.plan(spec)
    records, faulty = images.pick(plan, asked.images)
    if faulty:
        say(
            f"warning: {faulty:,} train records with a fault are passed over; a training would "
            "stop at them. `launcher data audit` tells each"
        )
    out = derive.folder_of(spec, KIND) / "images"
    sections = _sections(plan, asked, *images.paths(out))
    made = derive.write(plan, KIND, schedule(plan, asked), sections, augment=False)
    api.check_start(made, replace=replace)
    images.write(plan, records, out)
    return derive.prepare(made, replace=replace, force=force)


def schedule(plan: Plan, asked: Asked) -> derive.Schedule:
    """All images in every step, in micro-batches of at most the plan's."""
    per_replica = min(plan.per_replica_batch, asked.images)
    replicas = max(1, plan.gpus_per_worker)
    batch = per_replica * replicas * math.ceil(asked.images / (per_replica * replicas))
    rate = asked.rate or derive.linear_rate(plan, batch)
    return derive.Schedule(asked.steps, rate, batch, per_replica)


def verdict(handle: JobHandle, findings: Sequence[Finding]) -> Verdict:
    """Of a run that has ended well."""
    found = handle.results()
    count = (found.final or {}).get("images", 0)
    reached = float((found.final or {}).get("mAP", 0.0))
    asked = found.target_map or TARGET
    if reached * 100 >= asked:
        return Verdict(
            True,
            f"learned by heart: mAP {points(reached)} on the {count} images it was trained on "
            f"({points(asked / 100)} was asked for). Records, labels, boxes, loss and evaluation "
            "fit together",
            (
                "what is wrong with a longer run is its amount, rate, batch or normalization: "
                "`launcher check SPEC`",
            ),
        )
    line = (
        f"not learned by heart: mAP {points(reached)} on the {count} images it was trained on, "
        f"{points(asked / 100)} was asked for"
    )
    return Verdict(False, line, _next(handle, findings, found.history))


def _next(
    handle: JobHandle, findings: Sequence[Finding], history: Sequence[dict[str, float]]
) -> tuple[str, ...]:
    """Where the fault is, by the loss: before it, or behind it."""
    name, ways = handle.name, []
    scores = [float(row["mAP"]) for row in history if "mAP" in row]
    if len(scores) > 1 and scores[-1] - scores[-2] > _RISES:
        ways.append("its mAP still rises: `--steps` with twice as many, before anything else")
    curve = losses(handle.paths)
    if curve and curve[1] > _FELL * curve[0]:
        ways.append(
            f"the loss itself did not fall far ({curve[0]:.3g} to {curve[1]:.3g}): look at boxes "
            "and names as the model gets them (`launcher data view SPEC`), then at `--rate`"
        )
    elif curve:
        ways.append(
            f"the loss fell from {curve[0]:.3g} to {curve[1]:.3g}, so the fault is behind it: "
            "normalization in inference, label map, post-processing. "
            f"`launcher results {name} --html` shows truth and detections side by side"
        )
    ways += _few_images(handle)
    ways += [f"{f.name}: {f.evidence}" for f in findings]
    return tuple(ways)


def _few_images(handle: JobHandle) -> list[str]:
    """Moments of a handful of images alone can keep a sound chain from it: four images of 64 px
    ended at 0.45, their loss at 0.001 of the first (tests/end_to_end/test_diagnose.py's model)."""
    plan = read_json(handle.paths.plan)
    norm = plan.get("norm") if isinstance(plan, dict) else None
    if not isinstance(norm, dict) or norm.get("kind") not in ("batch", "moving", "renorm"):
        return []
    images = norm.get("images") or ENOUGH
    if not norm.get("trained") or images >= ENOUGH:
        return []
    return [
        f"normalization ({norm['kind']}) is over {images} images: to tell it from the data, once "
        "more with `--set train.norm=group`, or with a larger batch.per_replica_batch"
    ]


def _sections(plan: Plan, asked: Asked, records: str, labels: str) -> dict[str, object]:
    data = {
        "dataset": "custom",
        "train": records,
        "val": records,  # the same images, on purpose
        "label_map": labels,
        "train_images": asked.images,
        "val_images": asked.images,
    }
    if plan.data.num_classes:
        data["num_classes"] = plan.data.num_classes
    return {
        "data": data,
        "train": {"checkpoint_every": {"steps": -(-asked.steps // _SCORES)}},
        "evaluate": {"target_map": TARGET, "tolerance": 0},
    }
