"""pydantic's errors as Problems: field, value and remedy, in the words of a job spec."""

import math
from collections.abc import Container, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from launcher.spec.fields import REFUSAL
from launcher.spec.yaml_tree import Path, number_meant, shown

Told = tuple[Path, str, str]
"""Where, what, remedy."""

_EXAMPLES_OF_NUMBERS = (4, 0.9998, 128)
"""The first that a field takes is in its message."""
_LONGEST_QUOTED = 60
_EXAMPLES = {"name": "Add it, as name: d3-coco", "mount_path": "Add it, as mount_path: /data"}


def told(
    error: Mapping[str, Any],
    root: type[BaseModel],
    written: Mapping[Path, str],
    overridden: Container[str],
) -> Told:
    """One of `ValidationError.errors()` as where, what, remedy; `written` as of a `Tree`,
    `overridden` the dotted paths that --set gave."""
    path, kind, value = tuple(error["loc"]), error["type"], error["input"]
    context = error.get("ctx", {})
    # Alternatives (`auto | bool`) and keys of mappings add a step of pydantic's own to the path.
    path = _without_steps(path, root)
    is_set = ".".join(map(str, path)) in overridden
    if kind == REFUSAL:
        return path, context["what"], context["remedy"]
    if kind == "missing":
        return path, "is required", _EXAMPLES.get(str(path[-1]), "Add it")
    if kind == "extra_forbidden":
        return path, "unknown key", nearest_key(str(path[-1]), path[:-1], root)
    if kind in _WANTED:
        wanted = _WANTED[kind]
        if wanted == _MAPPING:
            remedy = _below(path, value, root, is_set)
            return path, f"must be {wanted}, not {shown(value)}", remedy
        if outside := _outside(wanted, value, _bounds_at(root, path)):
            return path, *outside
        remedy = _remedy(kind, value, _example(root, path), written.get(path))
        return path, f"must be {wanted}, not {shown(value)}", remedy
    if kind in ("greater_than", "greater_than_equal"):
        limit = context.get("gt", context.get("ge"))
        return path, *_too_small(value, limit, included=kind == "greater_than_equal")
    if kind in ("less_than", "less_than_equal"):
        limit = context.get("lt", context.get("le"))
        return path, *_too_large(value, limit, included=kind == "less_than_equal")
    if kind == "literal_error":
        expected = str(context["expected"]).replace("'", "")
        expected = expected.replace("True", "true").replace("False", "false")
        return path, f"must be {expected}, not {shown(value)}", _nearest_word(value, expected)
    return path, f"{error['msg']}, not {shown(value)}", "Correct the value"


def did_you_mean(word: str, known: list[str]) -> str:
    """The nearest known name, or all of them."""
    if near := get_close_matches(word, known, n=1, cutoff=0.6):
        return f"Did you mean {near[0]}?"
    # cpus -> cpus_per_worker: too short for a match by letters, plain to a person.
    if part := [k for k in known if len(word) > 2 and (word in k.split("_") or k in word)]:
        return f"Did you mean {part[0]}?"
    return f"Known here: {', '.join(known)}" if known else "Remove it"


def nearest_key(key: str, path: Path, root: type[BaseModel]) -> str:
    """What an unknown key in the section at `path` was meant to be, as a remedy."""
    if not path and key not in root.model_fields:
        for name in root.model_fields:
            if key in known_keys(root, (name,)):
                return f"Did you mean {name}.{key}?"
    return did_you_mean(key, known_keys(root, path))


def known_keys(root: type[BaseModel], path: Path) -> list[str]:
    """The keys of the section at `path`; none when it is no section."""
    section = section_at(root, path)
    return list(section.model_fields) if section else []


def section_at(root: type[BaseModel], path: Path) -> type[BaseModel] | None:
    """The model of the section at `path`. None: there is none."""
    section: type[BaseModel] | None = root
    for key in path:
        if isinstance(key, int):
            continue
        if section is None or key not in section.model_fields:
            return None
        section = _section_of(section.model_fields[key].annotation)
    return section


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """The model in `Model`, `Model | None` or `tuple[Model, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        if found := _section_of(part):
            return found
    return None


def _without_steps(path: Path, root: type[BaseModel]) -> Path:
    """The keys and indices that are in the file."""
    kept: Path = ()
    for step in path:
        if isinstance(step, str) and step.startswith("["):
            continue  # a tag of pydantic's: a mapping's key, a kind of value
        section = section_at(root, kept)
        outside = section is not None or isinstance(step, int) or is_mapping(root, kept)
        if outside:
            kept = (*kept, step)
        if section is not None and isinstance(step, str) and step not in section.model_fields:
            break
    return kept


def is_mapping(root: type[BaseModel], path: Path) -> bool:
    """Whether the field at `path` takes keys of the user's own, as cluster.env."""
    section = section_at(root, path[:-1]) if path else None
    if section is None or path[-1] not in section.model_fields:
        return False
    return _mapping(section.model_fields[str(path[-1])].annotation)


def _mapping(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is dict:
        return True
    return origin is Union and any(map(_mapping, get_args(annotation)))


_WHOLE, _NUMBER, _TEXT = "a whole number", "a number", "text"
_MAPPING = "a mapping (key: value lines)"
_WANTED = {
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "a finite number",
    "string_type": _TEXT,
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "list_type": "a list",
    "tuple_type": "a list",
    "path_type": "a path",
    "is_instance_of": "a path",
}


def _plain_number(limit: Any) -> str:
    """4,096 and 0.5, never 4096.0."""
    return f"{int(limit):,}" if limit == int(limit) else f"{limit:g}"


def _too_small(value: Any, limit: Any, *, included: bool) -> tuple[str, str]:
    bound = "at least" if included else "above"
    return f"must be {bound} {_plain_number(limit)}, not {shown(value)}", "Use a larger number"


def _too_large(value: Any, limit: Any, *, included: bool) -> tuple[str, str]:
    bound = "at most" if included else "below"
    return f"must be {bound} {_plain_number(limit)}, not {shown(value)}", "Use a smaller number"


def _outside(wanted: str, value: Any, bounds: list[Any]) -> tuple[str, str] | None:
    """Of a number in another form that would be refused in its own form too."""
    meant = number_meant(value) if isinstance(value, str) else value
    if wanted not in (_WHOLE, _NUMBER) or not isinstance(meant, str | float):
        return None
    number = float(meant)
    if not math.isfinite(number) or (wanted == _WHOLE and not number.is_integer()):
        return None
    for bound in bounds:
        for name in ("lt", "le"):
            limit = getattr(bound, name, math.inf)
            if number > limit or (name == "lt" and number == limit):
                return _too_large(value, limit, included=name == "le")
        for name in ("gt", "ge"):
            limit = getattr(bound, name, -math.inf)
            if number < limit or (name == "gt" and number == limit):
                return _too_small(value, limit, included=name == "ge")
    return None


def _bounds_at(root: type[BaseModel], path: Path) -> list[Any]:
    """Of the field at `path`."""
    section = section_at(root, path[:-1])
    field = section.model_fields.get(str(path[-1])) if section and path else None
    return list(_bounds(field)) if field else []


def _example(root: type[BaseModel], path: Path) -> float:
    """A number that the field at `path` takes."""
    bounds = _bounds_at(root, path)
    return next((n for n in _EXAMPLES_OF_NUMBERS if all(_within(n, b) for b in bounds)), 4)


def _bounds(part: Any) -> Iterator[Any]:
    """Of a field, also of one that may be None: `Annotated[float, Field(gt=0, lt=1)] | None`."""
    if isinstance(part, FieldInfo):
        yield from part.metadata
        part = part.annotation
    for inner in getattr(part, "__metadata__", ()):
        yield from getattr(inner, "metadata", ())
    for alternative in get_args(part):
        yield from _bounds(alternative)


def _within(number: float, bound: Any) -> bool:
    return bool(
        getattr(bound, "gt", -math.inf) < number < getattr(bound, "lt", math.inf)
        and getattr(bound, "ge", -math.inf) <= number <= getattr(bound, "le", math.inf)
    )


def _remedy(kind: str, value: Any, example: float, written: str | None) -> str:
    wanted = _WANTED[kind]
    if wanted in (_WHOLE, _NUMBER, "a finite number"):
        return _number_remedy(wanted, value, example)
    if wanted == _TEXT:
        if not isinstance(value, int | float):
            return "Write text"
        # `no` was read as false: as text it is "no".
        text = written or shown(value)
        return f'Quote it: "{text}"' if len(text) <= _LONGEST_QUOTED else "Quote it"
    if wanted == "true or false":
        return "Write true or false without quotes"
    if wanted == "a list":
        return "Write it in brackets, or as lines that begin with a dash"
    return "Write a path"


def _below(path: Path, value: Any, root: type[BaseModel], is_set: bool) -> str:
    """The key that a single value was likely meant for."""
    dotted = ".".join(map(str, path))
    key = _likely_key(value, section_at(root, path))
    if key is None:
        return f"Write --set {dotted}.KEY=VALUE" if is_set else "Indent its keys below it"
    text = yaml.safe_dump({key: value}, default_flow_style=True, width=math.inf).strip()
    if is_set:
        return f"Write --set {dotted}.{text.strip('{}').replace(': ', '=', 1)}"
    return f"Write {text}" if isinstance(path[-1], int) else f"Write {path[-1]}: {text}"


def _likely_key(value: Any, section: type[BaseModel] | None) -> str | None:
    """The only one that has `value` among its words, or the first one if that takes it."""
    if section is None or isinstance(value, bool) or len(str(value)) > _LONGEST_QUOTED:
        return None
    fields = section.model_fields
    words = [key for key in fields if value in _words(fields[key].annotation)]
    key = words[0] if words else next(iter(fields))
    return key if len(words) < 2 and _takes(section, key, value) else None


def _words(annotation: Any) -> tuple[Any, ...]:
    """Of `Literal["a", "b"]`, also of one that may be None."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(word for part in get_args(annotation) for word in _words(part))


def _takes(section: type[BaseModel], key: str, value: Any) -> bool:
    try:
        section.model_validate({key: value})
    except ValidationError as e:
        return all(error["loc"][:1] != (key,) for error in e.errors())
    return True


def _number_remedy(wanted: str, value: Any, example: float) -> str:
    meant = number_meant(value) if isinstance(value, str) else None
    if meant and (wanted != _WHOLE or "." not in meant):
        return f"Write {meant} without quotes" if value.strip() == meant else f"Write {meant}"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"Write {int(value)}"
    return f"Write {wanted}, as {example:g}"


def _nearest_word(value: Any, expected: str) -> str:
    words = expected.replace(" or ", ", ").split(", ")
    if isinstance(value, str) and (near := get_close_matches(value, words, n=1)):
        return f"Did you mean {near[0]}?"
    return f"Write {words[0]}" if len(words) == 1 else "Use one of them"
