"""A plan as a table for people: what the recipe says, what their file says, what is done, why."""

from dataclasses import dataclass

from launcher.odapi.normalizers import Normalizer
from launcher.planning.arithmetic import scale_of
from launcher.planning.memory import fit_of
from launcher.planning.plan import Plan
from launcher.planning.schedule import Facts


@dataclass(frozen=True)
class Row:
    """One quantity. Empty text where there is nothing to say; `file` is for runs of a file."""

    quantity: str
    recipe: str
    file: str
    run: str
    why: str


def table(plan: Plan, gpu_memory: float | None = None) -> list[Row]:
    """`gpu_memory`: GiB of one accelerator, which the images of a replica are compared with."""
    memory = [] if gpu_memory is None else [_memory(plan, gpu_memory)]
    return [*_batch_rows(plan), *memory, *_schedule_rows(plan), *_data_rows(plan)]


def _memory(plan: Plan, gib: float) -> Row:
    name, fit = "memory", fit_of(plan, gib)
    if fit is None:
        again = " with train.recompute" if plan.spec.train.recompute else ""
        model = plan.published or "this model"
        return Row(name, "", "", "not known", f"{model}{again} was not traced (docs/check.md)")
    most = f"at most {fit.largest:,} fit" if fit.largest else "not one fits"
    if 0 < fit.dividing != fit.largest:
        most += f", {fit.dividing:,} with whole accumulation steps"
    why = (
        f"{fit.verdict}: the tensors of {fit.images:,} images; {most} "
        f"({fit.error:.0%} more were measured; a GPU's own needs were not)"
    )
    return Row(name, "", "", f"{fit.needed:.1f} of {gib:g} GiB", why)


def _batch_rows(plan: Plan) -> list[Row]:
    recipe, file = plan.recipe_facts, plan.file_facts
    device = "GPU" if plan.gpus_per_worker else "CPU"
    norm = plan.norm
    return [
        Row("replicas", "", "", f"{plan.replicas:,}", _cluster(plan, device)),
        Row(
            "global batch",
            _number_of(recipe, "batch"),
            _number_of(file, "batch"),
            f"{plan.global_batch:,}",
            "images in one optimizer step; the learning rate belongs to it",
        ),
        Row(
            "images per replica",
            _per_core(plan),
            "",
            f"{plan.per_replica_batch:,}",
            f"what one {device} computes at once"
            + ("" if plan.spec.batch.per_replica_batch else " (default)"),
        ),
        Row(
            "accumulation steps",
            "",
            "",
            f"{plan.accumulation_steps:,}",
            f"{plan.global_batch:,} / ({plan.replicas:,} x {plan.per_replica_batch:,})",
        ),
        Row(
            "normalization",
            "batch" if plan.recipe else "",
            "",
            norm.kind if norm.trained else "frozen",
            norm.why,
        ),
        Row(
            "moments over",
            _per_core(plan),
            "",
            f"{norm.images:,}" if norm.has_moments else "none",
            _norm(plan),
        ),
        Row("loss divided by", "", "", *_DIVISORS[plan.normalizer]),
        *_average(plan),
    ]


def _per_core(plan: Plan) -> str:
    """Images that a device of the recipe's computed at once; a file of one's own does not tell."""
    return _number(plan.norm.wanted) if plan.published else ""


_DIVISORS = {
    Normalizer.MATCHES: ("matched anchors", "of the global batch, however it is split"),
    Normalizer.BOXES: ("objects", "of the global batch, however it is split"),
    Normalizer.NOTHING: ("no count", "the model sums it; over the reference batch's images"),
    Normalizer.IMAGES: ("images", "of the global batch; each image has its own divisor"),
    Normalizer.MICRO_BATCH: ("own counts", "of each micro-batch, as the OD API does"),
}


def _average(plan: Plan) -> list[Row]:
    decay = plan.worker_config.ema_decay
    if decay is None:
        return []
    why = "exponential moving average, which is scored and exported (train.ema_decay)"
    return [Row("weight average", "none" if plan.recipe else "", "", f"{decay:g}", why)]


def _schedule_rows(plan: Plan) -> list[Row]:
    recipe, file = plan.recipe_facts, plan.file_facts
    rate, steps = _whys(plan)
    return [
        Row(
            "learning rate",
            _rate_of(recipe, "learning_rate"),
            _rate_of(file, "learning_rate"),
            _rate(plan.learning_rate),
            rate,
        ),
        Row(
            "warm-up from",
            _rate_of(recipe, "warmup_learning_rate"),
            _rate_of(file, "warmup_learning_rate"),
            _rate(plan.warmup_learning_rate),
            "the rate of the first step",
        ),
        Row(
            "warm-up steps",
            _number_of(recipe, "warmup_steps"),
            _number_of(file, "warmup_steps"),
            f"{plan.warmup_steps:,}",
            f"{plan.warmup_steps * plan.global_batch:,} images",
        ),
        Row(
            "steps",
            _number_of(recipe, "total_steps"),
            _number_of(file, "total_steps"),
            f"{plan.total_steps:,}",
            steps,
        ),
        Row(
            "schedule", _kind(recipe), _kind(file), _words(plan.schedule), "ends with the last step"
        ),
        Row(
            "images seen",
            _number_of(recipe, "images"),
            _number_of(file, "images"),
            f"{plan.images_seen:,}",
            "steps x global batch",
        ),
    ]


def _whys(plan: Plan) -> tuple[str, str]:
    """Of the rate and of the steps: whose they are, and how they were scaled."""
    scale = float(scale_of(plan.global_batch, plan.reference_batch))
    whose = "the recipe's" if plan.reference_is_recipe else "your file's"
    if scale == 1:
        same = f"{whose}, which belongs to a global batch of {plan.reference_batch:,}"
        return same, f"{whose}, at the same global batch"
    steps = f"{whose} / {scale:g}: the same number of images"
    if plan.spec.batch.lr_scaling == "none":
        return f"{whose}, kept (lr_scaling: none)", steps
    return f"{whose} x {scale:g} (linear rule: batch / {plan.reference_batch:,})", steps


def _data_rows(plan: Plan) -> list[Row]:
    data, seen = plan.data, plan.data.train_images
    epochs = "the number of train images is not given"
    if seen:
        epochs = f"of {seen:,} train images"
    return [
        Row(
            "epochs",
            _epochs(plan.recipe_facts, seen if data.is_coco else None),
            _epochs(plan.file_facts, seen),
            "" if plan.epochs is None else _digits(plan.epochs),
            epochs,
        ),
        Row("starts from", _start_of(plan.recipe_facts), _start_of(plan.file_facts), *_start(plan)),
        *_frozen(plan),
        Row("target mAP", "", "", *_target(plan)),
    ]


def _cluster(plan: Plan, device: str) -> str:
    workers = f"{plan.workers:,} worker{'s' if plan.workers != 1 else ''}"
    devices = max(1, plan.gpus_per_worker)
    return f"{workers} x {devices} {device}{'s' if devices != 1 else ''}"


def _norm(plan: Plan) -> str:
    norm = plan.norm
    if not norm.has_moments:
        return "nothing is taken over the batch"
    over = "images of all replicas" if norm.synchronised else "images of each replica alone"
    return f"{over}; too few: see the warning" if norm.too_few else over


def _start(plan: Plan) -> tuple[str, str]:
    if plan.fine_tune is None:
        return "random weights", "no fine_tune_checkpoint"
    return f"{plan.fine_tune.kind} checkpoint", plan.fine_tune.checkpoint


def _frozen(plan: Plan) -> list[Row]:
    if not plan.frozen:
        return []
    count = f"{len(plan.frozen)} pattern{'s' if len(plan.frozen) > 1 else ''}"
    return [Row("frozen", "", "", count, ", ".join(plan.frozen))]


def _start_of(facts: Facts | None) -> str:
    if facts is None:
        return ""
    return f"{facts.start} checkpoint" if facts.start else "random weights"


def _target(plan: Plan) -> tuple[str, str]:
    if plan.target_map is None:
        return (
            "none",
            f"{plan.data.dataset} data has no published mAP; evaluate.target_map sets one",
        )
    source = "evaluate.target_map" if plan.spec.evaluate.target_map is not None else "published"
    return f"{plan.target_map:g}", f"{source}, COCO points, {plan.tolerance:g} below counts"


def _epochs(facts: Facts | None, train_images: int | None) -> str:
    return _digits(facts.images / train_images) if facts and train_images else ""


def _digits(value: float) -> str:
    """Four of them, as the plan has its epochs: 324.6, 8, 7,680,000."""
    return f"{float(f'{value:.4g}'):,.15g}"


def _kind(facts: Facts | None) -> str:
    return _words(facts.schedule) if facts else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _number_of(facts: Facts | None, name: str) -> str:
    return _number(getattr(facts, name)) if facts else ""


def _rate_of(facts: Facts | None, name: str) -> str:
    return _rate(getattr(facts, name)) if facts else ""


def _number(value: int) -> str:
    return f"{value:,}"


def _rate(value: float) -> str:
    return f"{value:.6g}"
