"""The kinds of value that a job spec has, each with the message for a wrong one.

Numbers are strict: "4" is text, true is no number, 4.5 is no whole number. A message says so
instead of guessing.
"""

import glob
import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from launcher.spec.yaml_tree import shown

LARGEST = 2**31 - 1
"""The largest batch: pipeline.config holds uint32, TensorFlow casts to int32."""

REFUSAL = "launcher"
"""The pydantic error type of refusals that bring their own words."""

MOUNT = "Only files of this machine or of a mounted disk can be read: mount or copy them"
"""Of a URL where TensorFlow's own readers are not asked: workers and evaluator open the files."""

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_LENGTH = 47  # leaves 16 of Kubernetes' 63 for what is appended: role, attempt, index
_LONGEST_PATH = 4096  # Linux' PATH_MAX


def refusal(what: str, remedy: str = "") -> PydanticCustomError:
    """A value is wrong in a way that pydantic's own messages would not explain."""
    return PydanticCustomError(REFUSAL, "{what}", {"what": what, "remedy": remedy})


def is_url(path: str) -> bool:
    """gs://bucket/x and the like: no path of this machine."""
    return bool(_URL.match(path))


def absolute_pattern(pattern: str, folder: Path | None = None) -> str:
    """As `absolute`; brackets and stars in the folder's own name are no wildcards."""
    if not glob.has_magic(pattern) or is_url(pattern):
        return absolute(pattern, folder)
    return absolute(pattern, Path(glob.escape(str(folder or Path.cwd()))))


def absolute(path: str, folder: Path | None = None) -> str:
    """`path` below `folder` (default: the current directory), ~ expanded; URLs as they are."""
    if is_url(path):
        return path
    return os.path.normpath((folder or Path.cwd()) / os.path.expanduser(path))  # noqa: PTH111


def label_of(text: str) -> str:
    """`text` made a valid job name: EfficientDet_D3 -> efficientdet-d3."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_NAME_LENGTH].strip("-")
    return label or "run"


def _is_name(text: str) -> str:
    if not _LABEL.fullmatch(text) or len(text) > _NAME_LENGTH:
        raise refusal(
            f"{quoted(text)} is not a name: 1 to {_NAME_LENGTH} small letters, digits and "
            "dashes, no dash at an end (a DNS label)",
            f"Use {label_of(text)}",
        )
    return text


def _is_env_name(text: str) -> str:
    if not _ENV_NAME.fullmatch(text):
        raise refusal(
            f"{quoted(text)} is not the name of an environment variable",
            "Use letters, digits and _",
        )
    if text == "TF_CONFIG" or text.startswith("LAUNCHER_"):
        raise refusal(f"{text} is set by launcher itself", "Remove it")
    return text


def given(text: str) -> str:
    if not text.strip():
        raise refusal("is empty", "Give a value or remove the key")
    return _unbroken(text)


def _unbroken(text: str) -> str:
    """What a file, an environment and a terminal can hold."""
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise refusal("holds a null character or a broken one", "Write it in UTF-8")
    return text


def _to_path(value: Any) -> Any:
    """Text to an absolute path. Anything else stays for pydantic to refuse."""
    if not isinstance(value, str | Path):
        return value
    text = sound(value)
    if is_url(text):
        raise refusal(f"{_cut(text)} is a URL", "Give the path of a file system that is mounted")
    return Path(absolute(text))


def _to_patterns(value: Any) -> Any:
    """One text or a list of them to a tuple of absolute paths."""
    if isinstance(value, str | Path):
        value = [value]
    if not isinstance(value, list | tuple):
        raise refusal(
            f"must be a path or a list of paths, not {shown(value)}",
            "Write a path, as /data/train.record-?????-of-00100",
        )
    if not value:
        raise refusal("is an empty list", "Name at least one file or pattern, or remove the key")
    return tuple(absolute_pattern(_mounted(v)) if isinstance(v, str | Path) else v for v in value)


def _to_expressions(value: Any) -> Any:
    """One text or a list of them to a tuple of texts that `re` takes."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise refusal(
            f"must be a regular expression or a list of them, not {shown(value)}",
            "Write as much of the variables' names as tells them apart, as FeatureExtractor",
        )
    if not value:
        raise refusal("is an empty list", "Name at least one expression, or remove the key")
    for text in value:
        given(text)
        try:
            re.compile(text)
        except re.error as e:
            raise refusal(
                f"{shown(text)} is no regular expression ({e})", "Escape special characters"
            ) from None
    return tuple(value)


def _to_location(value: Any) -> Any:
    return absolute(sound(value)) if isinstance(value, str | Path) else value


def _to_data_path(value: Any) -> Any:
    return absolute(_mounted(value)) if isinstance(value, str | Path) else value


def _mounted(value: str | Path) -> str:
    text = sound(value)
    if is_url(text):
        raise refusal(f"{_cut(text)} is a URL", MOUNT)
    return text


def sound(value: str | Path) -> str:
    """A path that a file system could have and a text file can name."""
    text = given(str(value))
    if len(text) > _LONGEST_PATH:
        raise refusal(f"is a path of {len(text)} characters", f"At most {_LONGEST_PATH} can exist")
    return text


def quoted(text: str) -> str:
    """As it stands in a message: in quotes, and not all of a long one."""
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def offered(**later: str) -> BeforeValidator:
    """Values that are known but refused, each with the reason and the remedy in one sentence."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in later:
            what, _, remedy = later[value].partition("; ")
            raise refusal(f"{value} {what}", remedy)
        return value

    return BeforeValidator(check)


Name = Annotated[str, AfterValidator(_is_name)]
Text = Annotated[str, AfterValidator(given)]
EnvName = Annotated[str, AfterValidator(_is_env_name)]
AnyText = Annotated[str, AfterValidator(_unbroken)]
"""May be empty, as the value of an environment variable may."""

Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrNone = Annotated[int, Field(ge=0, le=LARGEST)]
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]

FilePath = Annotated[Path, BeforeValidator(_to_path), WithJsonSchema({"type": "string"})]
"""A path of this machine: absolute once validated."""

Location = Annotated[str, BeforeValidator(_to_location)]
"""A path or a URL (gs://...), as text."""

DataPath = Annotated[str, BeforeValidator(_to_data_path)]
"""The path of a file that is read where it is mounted, as text."""

Patterns = Annotated[
    tuple[DataPath, ...],
    BeforeValidator(_to_patterns),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""Glob patterns of record files: one or a list in YAML, a tuple of absolute paths once read."""

Expressions = Annotated[
    tuple[str, ...],
    BeforeValidator(_to_expressions),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""Regular expressions: one or a list in YAML, a tuple once read."""
