"""pipeline.config files, read and written as protobuf messages, never as text."""

import re
from difflib import get_close_matches
from pathlib import Path

from google.protobuf import text_format

from launcher.errors import Problem, SpecError
from launcher.odapi.protos import Message, load_schema, message
from launcher.storage import write_text

ROOT = "TrainEvalPipelineConfig"

_COMMENT_OR_TEXT = r"""#.*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'"""
_WORDS = re.compile(rf"{_COMMENT_OR_TEXT}|[A-Za-z_]\w*|[{{}}<>]|\n")


def read(path: Path) -> Message:
    """The pipeline of a file. Raises SpecError with file, line, column and the nearest field."""
    return parse(read_text(path), place=str(path))


def read_text(path: Path) -> str:
    """A text file that a user named. Raises SpecError when it is missing, a folder or no text."""
    try:
        return path.read_text(encoding="utf-8-sig")  # a BOM is no part of the text
    except UnicodeDecodeError as e:
        what = f"not a text file (byte {e.start} is not UTF-8)"
    except ValueError as e:  # a path with a null byte
        what = f"not a path ({e})"
    except OSError as e:
        what = (
            "no such file" if isinstance(e, FileNotFoundError) else (e.strerror or str(e)).lower()
        )
    raise SpecError([Problem(str(path), what, "Give the path of a file that can be read")])


def parse(text: str, place: str) -> Message:
    """The pipeline written in `text`; `place` names its origin in errors."""
    pipeline = message(ROOT)()
    try:
        text_format.Parse(text, pipeline)
    except text_format.ParseError as e:
        line, column = e.GetLine(), e.GetColumn()
        where = f"{place}:{line}:{column}" if line is not None else place
        raise SpecError([Problem(where, _reason(str(e)), _remedy(str(e)))]) from None
    except RecursionError:
        raise SpecError([Problem(place, "nested too deeply for a pipeline.config")]) from None
    return pipeline


def line_of(text: str, *path: str) -> int | None:
    """The line (from 1) of the field at `path`, as model, ssd, loss; None: it is not written. Of a
    repeated one the first."""
    above: list[str] = []
    name, line = "", 1
    for word in _WORDS.findall(text):
        if word == "\n":
            line += 1
        elif word in "{<":
            above.append(name)
        elif word in "}>":
            del above[-1:]
        else:
            name = word
            if (*above, name) == path:
                return line
    return None


def to_text(pipeline: Message) -> str:
    return str(text_format.MessageToString(pipeline))


def write(path: Path, pipeline: Message) -> None:
    """Atomically. Raises StorageError."""
    write_text(path, to_text(pipeline))


def line_below(text: str, section: str, field: str) -> int | None:
    """The line (from 1) of the first `field` anywhere below the first `section`."""
    start = re.compile(rf"^\s*{re.escape(section)}\b")
    wanted = re.compile(rf"\b{re.escape(field)}\s*[:{{<]")
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        code = line.partition("#")[0]
        inside = inside or bool(start.match(code))
        if inside and wanted.search(code):
            return number
    return None


def _reason(error: str) -> str:
    """The parser's reason without the position and the echo of the whole line before it."""
    error = re.sub(r"^\d+:\d+ : ", "", error)
    error = re.sub(r"^'.*?': (?=[A-Z])", "", error, flags=re.DOTALL)
    error = error.replace("object_detection.protos.", "").rstrip(".")
    return error or "not a pipeline.config"


def _remedy(error: str) -> str:
    """What the user probably meant, for an unknown field or enum value."""
    if unknown := re.search(
        r'"object_detection\.protos\.(\S+)" has no field named "([^"]*)"', error
    ):
        names = [f.name for f in _descriptor(unknown[1]).fields]
        return _did_you_mean(unknown[2], names)
    if unknown := re.search(
        r'"object_detection\.protos\.(\S+)" has no value named (\S+?)\.$', error
    ):
        enum = load_schema().FindEnumTypeByName(f"object_detection.protos.{unknown[1]}")
        return _did_you_mean(unknown[2].upper(), [v.name for v in enum.values])
    if 'Expected "}"' in error or "Expected identifier" in error:
        return "Check the braces and quotes around this place"
    return "Correct the value or remove it"


def _descriptor(name: str) -> Message:
    return load_schema().FindMessageTypeByName(f"object_detection.protos.{name}")


def _did_you_mean(word: str, names: list[str]) -> str:
    if near := get_close_matches(word, names, n=1, cutoff=0.5):
        return f'Did you mean "{near[0]}"?'
    return f"Known here: {', '.join(sorted(names))}"
