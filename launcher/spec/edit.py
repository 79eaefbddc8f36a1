"""Changing single values of a spec's text, with its comments and its order kept.

The places come from PyYAML's nodes; whether the result says what it should is checked by reading it
again, and where it does not, the whole spec is written anew without comments.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

import yaml

from launcher.errors import SpecError
from launcher.spec.yaml_tree import parse


def edited(text: str, changes: Mapping[tuple[str, ...], Any]) -> str:
    """`text`, a YAML or JSON mapping, with each value of `changes` set."""
    wanted = parse(text, place="").value
    wanted = {} if wanted is None else wanted
    result = text
    for path, value in changes.items():
        _set(wanted, path, value)
        result = _with(result, path, value)
    if _reads_as(result, wanted):
        return result
    return str(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=100))


def _set(tree: Any, path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    tree[path[-1]] = copy.deepcopy(value)


def _reads_as(text: str, wanted: Any) -> bool:
    try:
        return bool(parse(text, place="").value == wanted)
    except SpecError:
        return False


def _with(text: str, path: tuple[str, ...], value: Any) -> str:
    """May be wrong for what is written unusually: the caller checks."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:  # it was, one change before
        return text
    if not isinstance(root, yaml.MappingNode):
        return text
    node = root
    for depth, key in enumerate(path):
        pair = _pair(node, key)
        if pair is None:
            return _inserted(text, node, key, _nested(path[depth + 1 :], value))
        name, found = pair
        if depth == len(path) - 1 or not isinstance(found, yaml.MappingNode):
            new = _written(text, _nested(path[depth + 1 :], value))
            return f"{text[: name.end_mark.index]}: {new}{text[_end(found) :]}"
        node = found
    return text


def _pair(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((k, v) for k, v in node.value if k.value == key), None)


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _inserted(text: str, node: yaml.MappingNode, key: str, value: Any) -> str:
    """Behind the last key of a block, before the first of a mapping in braces."""
    if node.flow_style or not node.value:
        at = node.start_mark.index + 1
        comma = ", " if node.value else ""
        name = json.dumps(key) if _is_json(text) else key
        return f"{text[:at]}{name}: {_written(text, value)}{comma}{text[at:]}"
    at = text.find("\n", _end(node))
    at = len(text) if at < 0 else at
    indent = " " * node.value[0][0].start_mark.column
    if isinstance(value, dict):
        lines = "".join(f"\n{indent}  {k}: {_written(text, v)}" for k, v in value.items())
    else:
        lines = f" {_written(text, value)}"
    return f"{text[:at]}\n{indent}{key}:{lines}{text[at:]}"


def _end(node: yaml.Node) -> int:
    """Where the text of a node ends; a block's own mark is where the next thing begins."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


def _written(text: str, value: Any) -> str:
    """In one line."""
    if _is_json(text):
        return json.dumps(value)
    dumped: str = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**6, sort_keys=False
    )
    return dumped.strip().removesuffix("...").strip()


def _is_json(text: str) -> bool:
    return text.lstrip().startswith("{")
