"""Subject: what was read of a job's configuration. The checks of it are functions of this alone."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from launcher.errors import DataError
from launcher.odapi import label_map
from launcher.odapi import pipeline as pipelines
from launcher.odapi.protos import Message
from launcher.planning import Plan
from launcher.planning.data import PLACEHOLDER, real_path
from launcher.planning.schedule import Facts
from launcher.planning.source import Source, source_of
from launcher.preflight.finding import Severity
from launcher.preflight.weights import Weights, read_weights
from launcher.spec import JobSpec
from launcher.spec.fields import is_url


@dataclass(frozen=True)
class Subject:
    """A run as planned, and beside it the user's own file as the OD API would run it."""

    plan: Plan
    source: Source
    file_text: str
    """Of the user's own pipeline.config; empty for a recipe."""
    weights: Weights | None
    """Of the starting checkpoint; None without one, and for one that is not here."""
    val_map_differs: str | None = None
    """The file's label map of the val records, where its classes are not those of the run's."""

    @property
    def spec(self) -> JobSpec:
        return self.plan.spec

    @property
    def reference(self) -> Facts | None:
        """What the numbers are compared with: None for a model without a recipe."""
        return self.source.recipe_facts

    @property
    def recipe(self) -> str:
        return self.source.recipe.name if self.source.recipe else ""

    @property
    def own(self) -> Facts | None:
        """Of the user's own file; None for a recipe, and when its numbers are unsound."""
        return self.source.file_facts

    @property
    def file(self) -> Message | None:
        """The user's own file, unchanged."""
        return self.source.pipeline if self.source.file else None

    @cached_property
    def run(self) -> Facts:
        """The run as planned, in the terms of a file."""
        plan = self.plan
        return Facts(
            batch=plan.global_batch,
            learning_rate=plan.learning_rate,
            warmup_learning_rate=plan.warmup_learning_rate,
            warmup_steps=plan.warmup_steps,
            total_steps=plan.total_steps,
            schedule=plan.schedule,
            optimizer=(self.own or self.source.reference).optimizer
            if not self.source.follows_recipe
            else self.source.reference.optimizer,
            start=plan.fine_tune.kind if plan.fine_tune else "",
        )

    @cached_property
    def effective(self) -> Message:
        """The pipeline.config that the workers get."""
        return pipelines.parse(self.plan.pipeline_text, place="the effective pipeline.config")

    @property
    def trains_from_scratch(self) -> bool:
        """On the recipe's data, from no more than a backbone: its budget and its mAP apply."""
        fine_tune = self.plan.fine_tune
        return (self.plan.data.is_coco or self.has_own_recipe) and (
            fine_tune is None or fine_tune.kind == "classification"
        )

    @property
    def has_own_recipe(self) -> bool:
        """batch.reference_config is of the user's own data."""
        return self.spec.batch.reference_config is not None

    @property
    def mended(self) -> Severity:
        """Of a flaw of the file that the run does not have. Whoever writes batch.global_batch into
        the spec has seen it."""
        return Severity.INFO if self.spec.batch.global_batch else Severity.WARNING

    @property
    def wasted(self) -> Severity:
        """Of a flaw that keeps the run itself from the recipe's mAP, where there is one to keep."""
        return Severity.ERROR if self.trains_from_scratch else Severity.WARNING

    @property
    def is_bare(self) -> bool:
        """A pipeline.config without a spec."""
        return bool(self.spec.origin.file) and not self.spec.origin.lines

    @property
    def is_template(self) -> bool:
        """A bare file as it is published: no run of its own, and no records where they belong."""
        reader = self.source.pipeline.train_input_reader.tf_record_input_reader
        return self.is_bare and any(PLACEHOLDER in path for path in reader.input_path)

    def place_in_file(self, section: str, field: str = "") -> str:
        """`pipeline.config:152: train_config.batch_size`, or a whole section; no line where it is
        not written."""
        line = pipelines.line_below(self.file_text, section, field or section)
        name = Path(self.source.file).name if self.source.file else self.source.reference_place
        dotted = f"{section}.{field}" if field else section
        return f"{name}:{line}: {dotted}" if line else f"{name}: {dotted}"

    def place_in_spec(self, key: str) -> str:
        """As the spec names it; a bare pipeline.config has no such key, so that is said."""
        place = self.spec.place(key)
        outside = self.is_bare and not place.startswith("--")
        return f"{key} (of a spec, or --set)" if outside else place

    def place_of_data(self, key: str) -> str:
        """Of data.train, data.val or data.label_map: the file's field where the spec has none."""
        field = _READERS.get(key)
        name = key.partition(".")[2]
        if field is None or self.file is None or getattr(self.spec.data, name, None):
            return self.place_in_spec(key)
        return self.place_in_file(*field)

    def place_of_run(self, key: str, section: str, field: str) -> str:
        """The key of the spec where it is set there, else the field of the file."""
        part, _, name = key.partition(".")
        set_here = name in getattr(self.spec, part).model_fields_set
        if set_here or not self.source.file or self.source.follows_recipe:
            return self.place_in_spec(key)
        return self.place_in_file(section, field)


_READERS = {
    "data.train": ("train_input_reader", "input_path"),
    "data.val": ("eval_input_reader", "input_path"),
    "data.label_map": ("train_input_reader", "label_map_path"),
}


def subject_of(plan: Plan, *, weights_here: bool = True) -> Subject:
    """Reads the plan's pipeline.config again, and what it starts from unless that is on storage
    that this machine does not see. Raises SpecError."""
    source = source_of(plan.spec)
    text = pipelines.read_text(Path(source.file)) if source.file else ""
    start = plan.fine_tune.checkpoint if plan.fine_tune else ""
    readable = weights_here and bool(start) and not is_url(start)
    weights = read_weights(start) if readable else None
    other = _other_val_map(plan, source) if weights_here else None
    return Subject(plan, source, text, weights, other)


def _other_val_map(plan: Plan, source: Source) -> str | None:
    readers = source.pipeline.eval_input_reader if source.file else ()
    own, run = real_path(readers[0].label_map_path) if readers else "", plan.data.label_map
    if not own or not run or own == run or is_url(own):
        return None
    try:
        same = label_map.read(Path(own)) == label_map.read(Path(run))
    except DataError:  # of the run's, labels.py tells; the other is not read
        return None
    return None if same else own
