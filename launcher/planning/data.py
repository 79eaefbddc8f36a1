"""The data of a run: what the spec says, then what the pipeline.config says, then defaults."""

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.errors import DataError, Problem, SpecError
from launcher.odapi import label_map as label_maps
from launcher.odapi.protos import Message
from launcher.planning.schedule import start_of
from launcher.planning.source import Source, source_of
from launcher.records import checkpoint as checkpoints
from launcher.records.files import expand, file_mode
from launcher.spec import JobSpec, shapes_of
from launcher.spec.fields import MOUNT, absolute, absolute_pattern, is_url
from launcher.spec.problems import did_you_mean

PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
"""What the published files have in place of a path."""

UNSET = "is not set"
NAME_RECORDS = "Name the record files, as *.record-*"
NAME_LABELS = "Name a label map (.pbtxt)"

V2 = 2
"""CheckpointVersion.V2 of train.proto."""
_VERSION, _TYPE = "fine_tune_checkpoint_version", "fine_tune_checkpoint_type"

KINDS = ("classification", "detection", "full")
"""Of a starting checkpoint, as the OD API names them."""

_COCO2017 = {"train_images": 118_287, "val_images": 5_000}
"""Images of COCO 2017 (cocodataset.org)."""
_WITHOUT_OBJECTS = 0.02
"""Some converters leave out the 1,021 train images without an object."""


@dataclass(frozen=True)
class DataPlan:
    """Patterns and label map as absolute paths, empty where nobody has named them yet."""

    dataset: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    label_map: str
    train_images: int | None
    val_images: int | None
    num_classes: int | None

    @property
    def is_coco(self) -> bool:
        """Whether published counts and mAP are compared with."""
        return self.dataset == "coco2017"

    @property
    def unlike_coco(self) -> str:
        """Counts that COCO 2017 has not, where it is meant; "" without one."""
        if not self.is_coco:
            return ""
        told = {"train": self.train_images, "val": self.val_images}
        return " and ".join(
            f"{count:,} {name} images where COCO 2017 has {_COCO2017[f'{name}_images']:,}"
            for name, count in told.items()
            if count is not None and not _is_coco_count(name, count)
        )


def _is_coco_count(name: str, count: int) -> bool:
    published = _COCO2017[f"{name}_images"]
    least = (1 - _WITHOUT_OBJECTS) * published if name == "train" else published
    return least <= count <= published


@dataclass(frozen=True)
class FineTune:
    """The weights that training starts from."""

    checkpoint: str
    kind: str


def data_of(spec: JobSpec, source: Source) -> DataPlan:
    """Raises DataError for a label map that is there but cannot be read, SpecError for a file whose
    records or label map are URLs."""
    given, shapes = spec.data, shapes_of(spec)
    dataset = given.dataset or ("custom" if shapes else _default_dataset(source))
    own = source.pipeline
    train = given.train or _paths(own.train_input_reader)
    readers = list(own.eval_input_reader)
    val = given.val or (_paths(readers[0]) if readers else ())
    labels = given.label_map or real_path(own.train_input_reader.label_map_path)
    counts: dict[str, Any] = dict(_COCO2017) if dataset == "coco2017" else {}
    if shapes:
        train, val, labels = (shapes.train,), (shapes.val,), shapes.label_map
        fields = ("train_images", "val_images", "num_classes")
        counts = {field: getattr(shapes, field) for field in fields}
    _require_paths(source, train, val, labels)
    return DataPlan(
        dataset=dataset,
        train=train,
        val=val,
        label_map=labels,
        train_images=given.train_images or counts.get("train_images"),
        val_images=given.val_images or counts.get("val_images"),
        num_classes=given.num_classes
        or counts.get("num_classes")
        or _num_classes(dataset, labels, source),
    )


def _require_paths(
    source: Source, train: tuple[str, ...], val: tuple[str, ...], labels: str
) -> None:
    """Of what the pipeline.config names: a spec refuses its own URLs."""
    named = {
        ("train_input_reader", "tf_record_input_reader", "input_path"): train,
        ("eval_input_reader", "tf_record_input_reader", "input_path"): val,
        ("train_input_reader", "label_map_path"): (labels,),
    }
    problems = [
        Problem(source.place(*field), f"{path} is a URL", MOUNT)
        for field, paths in named.items()
        for path in paths
        if is_url(path)
    ]
    if problems:
        raise SpecError(problems)


def fine_tune_of(spec: JobSpec, source: Source) -> FineTune | None:
    """The spec's checkpoint, else the one that the user's own file names; never a placeholder.

    Raises SpecError for a file that says that its checkpoint is of version V1, or of a kind that
    the OD API does not know.
    """
    if spec.train.fine_tune_checkpoint and spec.train.fine_tune_type:
        return FineTune(spec.train.fine_tune_checkpoint, spec.train.fine_tune_type)
    config = source.pipeline.train_config
    checkpoint = real_path(config.fine_tune_checkpoint)
    if not checkpoint:
        return None
    if config.HasField(_VERSION) and config.fine_tune_checkpoint_version != V2:
        what = "is not V2, and TensorFlow 2 reads no other"
        remedy = "Use a checkpoint that TensorFlow 2 saved, and write V2"
        raise SpecError([Problem(source.place("train_config", _VERSION), what, remedy)])
    kind = start_of(config)
    if kind not in KINDS:
        what = f'"{kind}" is none of {", ".join(KINDS)}'
        place = source.place("train_config", _TYPE)
        raise SpecError([Problem(place, what, did_you_mean(kind, list(KINDS)))])
    return FineTune(checkpoint, kind)


def missing_data(spec: JobSpec) -> list[Problem]:
    """What a run of `spec` would read and is not there. Looks at names only; opens no record.

    Drawn data counts as there: submit draws it. The URL of a checkpoint is not looked up.
    """
    source = source_of(spec)
    problems: list[Problem] = []
    data = data_of(spec, source)
    if spec.data.synthetic is None:
        problems += _missing_records(spec, "data.train", data.train)
        problems += _missing_records(spec, "data.val", data.val)
        problems += _missing_label_map(spec, data.label_map)
    fine_tune = fine_tune_of(spec, source)
    if fine_tune and (flaw := _flaw(fine_tune.checkpoint)):
        place = spec.place("train.fine_tune_checkpoint")
        if not spec.train.fine_tune_checkpoint:
            place = source.place("train_config", "fine_tune_checkpoint")
        problems.append(Problem(place, f"{fine_tune.checkpoint}: {flaw[0]}", flaw[1]))
    return problems


def _missing_records(spec: JobSpec, field: str, patterns: tuple[str, ...]) -> list[Problem]:
    if not patterns:
        return [spec.problem(field, UNSET, NAME_RECORDS)]
    problems = []
    for pattern in patterns:
        try:
            expand(pattern)
        except DataError as e:
            what = f"{pattern} {e.problems[0].what}"
            problems.append(spec.problem(field, what, e.problems[0].remedy))
    return problems


def _missing_label_map(spec: JobSpec, path: str) -> list[Problem]:
    if not path:
        return [spec.problem("data.label_map", UNSET, NAME_LABELS)]
    try:
        mode = file_mode(path)
    except DataError as e:
        what, remedy = e.problems[0].what, e.problems[0].remedy
        return [spec.problem("data.label_map", f"{path}: {what}", remedy)]
    if mode is not None and stat.S_ISREG(mode):
        return []
    what = "is a folder" if mode is not None and stat.S_ISDIR(mode) else "no such file"
    return [spec.problem("data.label_map", f"{path}: {what}", NAME_LABELS)]


def _flaw(checkpoint: str) -> tuple[str, str] | None:
    return None if is_url(checkpoint) else checkpoints.flaw(checkpoint)


def _default_dataset(source: Source) -> str:
    """A published model with other classes than the published ones is trained on other data."""
    if source.recipe is None or source.recipe.published_map is None:
        return "custom"
    same = model_classes(source.pipeline) == model_classes(source.recipe.build())
    return "coco2017" if same else "custom"


def _num_classes(dataset: str, labels: str, source: Source) -> int | None:
    """The published head for COCO; for other data what its label map holds, once it is there."""
    if dataset == "coco2017":
        return model_classes(source.recipe.build() if source.recipe else source.pipeline)
    mode = file_mode(labels) if labels else None
    if mode is not None and stat.S_ISREG(mode):
        return max(label_maps.read(Path(labels)))
    return model_classes(source.pipeline)


def model_classes(pipeline: Message) -> int | None:
    """None for a model that has no such number (experimental ones)."""
    model = getattr(pipeline.model, pipeline.model.WhichOneof("model"))
    return int(model.num_classes) if "num_classes" in model.DESCRIPTOR.fields_by_name else None


def _paths(reader: Message) -> tuple[str, ...]:
    paths = reader.tf_record_input_reader.input_path
    return tuple(absolute_pattern(path) for path in paths if _is_real(path))


def real_path(path: str) -> str:
    """Absolute, against the current directory as the OD API reads it; empty for a placeholder."""
    return absolute(path) if _is_real(path) else ""


def _is_real(path: str) -> bool:
    return bool(path.strip()) and PLACEHOLDER not in path
