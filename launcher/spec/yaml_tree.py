"""YAML text as plain values, with the line of every key and one message for every mistake.

Duplicate keys are refused: YAML would silently take the last. So are anchors and aliases: a spec
is short enough to be written out, and an alias bomb is not worth a defence of its own.
"""

import math
import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from launcher.errors import Problem, SpecError

Path = tuple[str | int, ...]
"""Where a value is: keys and list indices from the root."""

_DEEPEST = 12  # a spec nests 4 deep; more than this is no spec and would end in a RecursionError
_KINDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "null": "null"}
_LONGEST_NUMBER = 40  # digits; Python itself refuses to read more than 4300

_EXPONENT = re.compile(r"^(-?\d+)e")


@dataclass
class Tree:
    """Plain values, and the line (from 1) on which each key or list item begins."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    written: dict[Path, str] = field(default_factory=dict)
    """What stands in the text for true, false and numbers: `no`, 0x10."""


class _RefusedError(Exception):
    """A node that is legal YAML but no part of a spec."""

    def __init__(self, node: yaml.Node, what: str, remedy: str = "") -> None:
        self.mark, self.what, self.remedy = node.start_mark, what, remedy


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that does not follow aliases or nest without end."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError(self._here(), "aliases are not read", "Write the value out")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _RefusedError(self._here(), "nested too deeply for a job spec")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1

    def _here(self) -> yaml.Node:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return yaml.ScalarNode("", "", mark)


def parse(text: str, place: str) -> Tree:
    """The values in `text`; `place` names its origin. Raises SpecError with line and column."""
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Tree(None)
        tree = Tree(None)
        tree.value = _plain(loader, node, (), tree)
        return tree
    except _RefusedError as e:
        raise _error(place, e.mark, e.what, e.remedy) from None
    except yaml.reader.ReaderError as e:
        what = f"not a text file (character #x{ord(_character(e.character)):04x} in it)"
        raise SpecError(
            [Problem(place, what, "Give a YAML job spec or a pipeline.config")]
        ) from None
    except yaml.MarkedYAMLError as e:
        raise _error(place, e.problem_mark or e.context_mark, *_reason(e)) from None
    except RecursionError:
        raise SpecError([Problem(place, "nested too deeply for a job spec")]) from None
    finally:
        if loader is not None:
            loader.dispose()


def scalar(text: str) -> str:
    """YAML in one line that reads as `text`, also behind a key: quoted where it must be."""
    try:
        whole, behind_key = (parse(t, place="").value for t in (text, f"k: {text}"))
    except SpecError:
        pass
    else:
        if whole == text and behind_key == {"k": text}:
            return text
    dumped: str = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**6)
    return dumped.strip()


def shown(value: Any) -> str:
    """A value as a message quotes it: short, whatever it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int) and abs(value) >= 10**_LONGEST_NUMBER:
        return "a number of more than 40 digits"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return _short.repr(value)


_short = reprlib.Repr()
_short.maxstring = 80
_short.maxother = 80


def _plain(loader: _Loader, node: yaml.Node, path: Path, tree: Tree) -> Any:
    if isinstance(node, yaml.MappingNode):
        return dict(_pairs(loader, node, path, tree))
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            tree.lines[(*path, i)] = item.start_mark.line + 1
            items.append(_plain(loader, item, (*path, i), tree))
        return items
    value = _scalar(loader, node)
    if isinstance(value, int | float):
        tree.written[path] = str(node.value)
    return value


def _pairs(
    loader: _Loader, node: yaml.MappingNode, path: Path, tree: Tree
) -> Iterator[tuple[str, Any]]:
    seen: dict[str, int] = {}
    for key_node, value_node in node.value:
        key = _key(key_node)
        line = key_node.start_mark.line + 1
        if key in seen:
            dotted = ".".join(map(str, (*path, key)))
            raise _RefusedError(
                key_node, f"{dotted} is set a second time (first on line {seen[key]})", "Keep one"
            )
        seen[key] = tree.lines[(*path, key)] = line
        yield key, _plain(loader, value_node, (*path, key), tree)


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _RefusedError(node, "a key must be a word", "Quote the value if it holds braces")
    if node.tag == "tag:yaml.org,2002:merge":
        raise _RefusedError(node, "merge keys are not read", "Write the values out")
    return _checked_text(node, str(node.value))


def _scalar(loader: _Loader, node: yaml.Node) -> Any:
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    if tag == "str":
        return _checked_text(node, str(node.value))
    if tag not in ("int", "float", "bool", "null"):
        # A date such as 2024-01-01 is text here; a tag such as !!python/name is nothing.
        if tag in ("timestamp", "value"):
            return str(node.value)
        raise _RefusedError(node, f"the tag {shown(node.tag)} is not read", "Write a plain value")
    try:
        return loader.construct_object(node)
    except (ValueError, KeyError, OverflowError, IndexError):
        what = f"{shown(str(node.value))} cannot be read as {_KINDS[tag]}"
        raise _RefusedError(node, what, "Correct it, or quote it if it is text") from None


def _checked_text(node: yaml.Node, text: str) -> str:
    """Text that can be written to a file and be part of a path."""
    for character in text:
        if (character < " " and character not in "\t\n") or "\ud800" <= character <= "\udfff":
            code = f"#x{ord(character):04x}"
            raise _RefusedError(node, f"text with the unprintable character {code}", "Remove it")
    return text


def number_meant(text: str) -> str | None:
    """The YAML that `text` should have been, when it looks like a number but was read as text."""
    text = text.strip().replace(",", "").replace("_", "")
    try:
        number = float(text) if len(text) < _LONGEST_NUMBER else math.nan
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    whole = number.is_integer() and abs(number) < 10**15
    # YAML reads 1e+40 as text, and 1.0e+40 as a number.
    return str(int(number)) if whole else _EXPONENT.sub(r"\1.0e", repr(number))


def _reason(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    what = " ".join(part for part in (error.context, error.problem) if part)
    if "\\t" in what or "'\\t'" in what:
        return f"not YAML: {what}", "Indent with spaces, not tabs"
    if "mapping values are not allowed" in what:
        return f"not YAML: {what}", "Check the indentation, and quote text that holds ': '"
    if "single document" in what:
        return "not YAML: more than one document", "Keep one job spec in a file"
    return f"not YAML: {what}", "Check the indentation, brackets and quotes here"


def _error(place: str, mark: Any, what: str, remedy: str) -> SpecError:
    where = f"{place}:{mark.line + 1}:{mark.column + 1}" if mark is not None else place
    return SpecError([Problem(where, what, remedy)])


def _character(character: Any) -> str:
    return chr(character) if isinstance(character, int) else str(character or "\0")[:1]
