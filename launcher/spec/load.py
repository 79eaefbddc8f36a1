"""A job spec, or a bare pipeline.config, from a file. All its mistakes are told at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from launcher.errors import Problem, SpecError
from launcher.spec import overrides as override
from launcher.spec.fields import REFUSAL, absolute, absolute_pattern, label_of
from launcher.spec.model import JobSpec, Origin
from launcher.spec.problems import told
from launcher.spec.rules import broken_rules
from launcher.spec.yaml_tree import Tree, parse, shown

_LARGEST_FILE = 4 * 2**20  # bytes; the largest published pipeline.config has 9 kB

_PIPELINE_NAMES = (".config", ".pbtxt")
_SPEC_NAMES = (".yaml", ".yml", ".json")
_PIPELINE_LOOK = re.compile(
    r"^\s*(model|train_config|train_input_reader|eval_config|eval_input_reader)\s*:?\s*[{<]",
    re.MULTILINE,
)
_SPEC_LOOK = re.compile(r"^(apiVersion|name|recipe|pipeline_config)\s*:", re.MULTILINE)

_PATTERNS = (("data", "train"), ("data", "val"))
PATHS = (
    *_PATTERNS,
    ("pipeline_config",),
    ("batch", "reference_config"),
    ("data", "label_map"),
    ("train", "fine_tune_checkpoint"),
    ("run_dir",),
)
"""The fields that hold paths: relative ones are relative to the file that they are written in."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> JobSpec:
    """The job that a spec or a bare pipeline.config describes, with absolute paths.

    `overrides` are `dotted.path=value`, the value in YAML. Raises SpecError with all problems.
    """
    path = Path(path)
    text = _read(path)
    if _is_pipeline(path, text):
        return _bare(path, text, overrides)
    tree = parse(text, place=str(path))
    if not isinstance(tree.value, dict):
        raise SpecError([_not_a_spec(path, text, tree.value)])
    return _checked(tree, Origin(str(path), tree.lines), path.parent, overrides)


def from_mapping(
    values: Mapping[str, Any], *, folder: str | Path = ".", overrides: Sequence[str] = ()
) -> JobSpec:
    """The job that plain values describe, as they would be in a YAML file in `folder`."""
    return _checked(Tree(_copied(values)), Origin(), Path(folder), overrides)


def is_bare(path: Path) -> bool:
    """Whether `path` is a pipeline.config in place of a spec. Raises SpecError."""
    return _is_pipeline(path, _read(path))


def _read(path: Path) -> str:
    place = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except ValueError as e:  # a null byte
        raise _refused(repr(place), f"not a path ({e})") from None
    except OSError as e:
        missing = isinstance(e, FileNotFoundError)
        what = "no such file" if missing else (e.strerror or str(e)).lower()
        raise _refused(place or '""', what) from None
    if len(data) > _LARGEST_FILE:
        raise _refused(
            place,
            f"more than {_LARGEST_FILE // 2**20} MiB: neither a job spec nor a pipeline.config",
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise _refused(place, f"not a text file (byte {e.start} is not UTF-8)") from None
    if not text.strip():
        raise _refused(place, "the file is empty", "Begin with `launcher init NAME`")
    return text


def _is_pipeline(path: Path, text: str) -> bool:
    """By the name where it says so, else by what the text looks like."""
    if path.suffix.lower() in _PIPELINE_NAMES:
        if _SPEC_LOOK.search(text) and not _PIPELINE_LOOK.search(text):
            what = f"looks like a job spec, but {path.suffix} is the name of a pipeline.config"
            raise _refused(str(path), what, "Rename it to end in .yaml")
        return True
    looks = bool(_PIPELINE_LOOK.search(text)) and not _SPEC_LOOK.search(text)
    if looks and path.suffix.lower() in _SPEC_NAMES:
        what = f"looks like a pipeline.config, but {path.suffix} is the name of a job spec"
        raise _refused(str(path), what, "Rename it to end in .config")
    return looks


def _bare(path: Path, text: str, overrides: Sequence[str]) -> JobSpec:
    """A spec of defaults around a pipeline.config, named after its folder or itself."""
    from launcher.odapi import pipeline

    pipeline.parse(text, place=str(path))
    whole = path.absolute()
    stem = whole.parent.name if whole.stem == "pipeline" else whole.stem
    values = {"name": label_of(stem or "run"), "pipeline_config": str(whole)}
    return _checked(Tree(values), Origin(str(path)), whole.parent, overrides)


def _checked(tree: Tree, origin: Origin, folder: Path, overrides: Sequence[str]) -> JobSpec:
    values: dict[str, Any] = tree.value
    _make_absolute(values, folder)
    written = _copied(values)
    overridden, problems = override.apply(overrides, tree, JobSpec)
    replaced = {dotted: had for dotted in overridden if (had := _at(written, dotted)) is not None}
    origin = replace(origin, overridden=overridden, replaced=replaced)
    values = _without_nulls(values)
    try:
        spec = JobSpec.model_validate(values)
    except ValidationError as e:
        found = [
            told(error, JobSpec, tree.written, overridden)
            for error in e.errors()
            if error["loc"] or error["type"] != REFUSAL
        ]
    else:
        found = []
    for where, what, remedy in _in_order(_once([*found, *broken_rules(values)]), origin):
        problems.append(Problem(origin.place(".".join(map(str, where))), what, remedy))
    if problems:
        raise SpecError(problems)
    return spec.with_origin(origin)


def _at(values: Any, dotted: str) -> Any:
    """None: there is nothing."""
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values


def _make_absolute(values: dict[str, Any], folder: Path) -> None:
    """Paths of the file become absolute here, those of --set later, against the current folder."""
    folder = folder.absolute()
    for *sections, key in PATHS:
        section: Any = values
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if isinstance(section, dict):
            pattern = (*sections, key) in _PATTERNS
            section[key] = _absolute(section.get(key), folder, pattern)


def _absolute(value: Any, folder: Path, pattern: bool) -> Any:
    if isinstance(value, list):
        return [_absolute(item, folder, pattern) for item in value]
    if not isinstance(value, str) or not value.strip():
        return value
    return absolute_pattern(value, folder) if pattern else absolute(value, folder)


def _without_nulls(value: Any) -> Any:
    """An empty key (`train:` with nothing below it) is the default, as if it were not there."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list | tuple) else value


def _once(found: list[tuple[Any, str, str]]) -> list[tuple[Any, str, str]]:
    """One problem a field: the first says what is wrong with it."""
    return list({item[0]: item for item in reversed(found)}.values())[::-1]


def _in_order(found: list[tuple[Any, str, str]], origin: Origin) -> list[tuple[Any, str, str]]:
    """As they stand in the file."""
    return sorted(found, key=lambda item: origin.line(item[0]) or 0)


def _not_a_spec(path: Path, text: str, value: Any) -> Problem:
    if value is None:
        return Problem(str(path), "holds nothing but comments", "Begin with `launcher init NAME`")
    what = f"must be a mapping (key: value lines), not {shown(value)}"
    if not isinstance(value, list) and "{" not in text and ":" not in text:
        what = f"neither a job spec nor a pipeline.config: it holds {shown(value)}"
    return Problem(str(path), what, "Begin with `launcher init NAME`")


def _refused(place: str, what: str, remedy: str = "") -> SpecError:
    remedy = remedy or "Give the path of a job spec (YAML) or of a pipeline.config"
    return SpecError([Problem(place, what, remedy)])
