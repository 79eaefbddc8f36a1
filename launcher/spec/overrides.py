"""`--set batch.per_replica_batch=8`: single values of a spec from the command line."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from launcher.errors import Problem, SpecError
from launcher.spec.problems import is_mapping, nearest_key, section_at
from launcher.spec.yaml_tree import Tree, parse, scalar, shown

_EXAMPLE = "Write it as --set batch.per_replica_batch=8"


def apply(
    overrides: Sequence[str], tree: Tree, root: type[BaseModel]
) -> tuple[frozenset[str], list[Problem]]:
    """Sets the values in `tree`; returns the dotted paths that were set, and what is wrong."""
    problems: list[Problem] = []
    dotted: set[str] = set()
    if isinstance(overrides, str):  # each letter would be one
        what = f"must be a list of texts, not {shown(overrides)}"
        return frozenset(), [Problem("overrides", what, f"Write [{shown(overrides)}]")]
    for override in overrides:
        try:
            path, given = _read(override, root)
            _set(tree.value, path, given.value, override)
            tree.written |= {(*path, *below): text for below, text in given.written.items()}
            dotted.add(".".join(path))
        except SpecError as e:
            problems += e.problems
    return frozenset(dotted), problems


def setting(dotted: str, text: str) -> str:
    """The override that sets a text, whatever YAML would read in it."""
    return f"{dotted}={scalar(text)}"


def changes_of(overrides: Sequence[str], root: type[BaseModel]) -> list[tuple[str, ...]]:
    """The keys that sound overrides set, each once, in their order."""
    return list(dict.fromkeys(_read(override, root)[0] for override in overrides))


def _read(override: str, root: type[BaseModel]) -> tuple[tuple[str, ...], Tree]:
    dotted, equals, text = override.partition("=")
    dotted = dotted.strip()
    if not equals or not dotted:
        raise _error("", f"{shown(override)} is not path=value", _EXAMPLE)
    path = _known_path(dotted, root)
    return path, parse(text, place=f"--set {dotted}")


def _known_path(dotted: str, root: type[BaseModel]) -> tuple[str, ...]:
    """The keys of a path; in a mapping of free keys (cluster.env) the rest is one key."""
    keys = dotted.split(".")
    path: tuple[str, ...] = ()
    for i, key in enumerate(keys):
        if path and is_mapping(root, path):
            return (*path, ".".join(keys[i:]))
        section = section_at(root, path)
        if section is None:
            what = f"{'.'.join(path)} is a single value: nothing is below it"
            raise _error(dotted, what, f"Write --set {'.'.join(path)}=...")
        if key not in section.model_fields:
            raise _error(dotted, "unknown key", _nearest(key, path, root))
        path = (*path, key)
    return path


def _nearest(key: str, path: tuple[str, ...], root: type[BaseModel]) -> str:
    prefix = "".join(f"{p}." for p in path)
    return nearest_key(key, path, root).replace("Did you mean ", f"Did you mean {prefix}")


def _set(tree: dict[str, Any], path: tuple[str, ...], value: Any, override: str) -> None:
    section: Any = tree
    for key in path[:-1]:
        if section.get(key) is None:
            section[key] = {}
        section = section[key]
        if not isinstance(section, dict):
            what = f"the file has {shown(section)} for {key}, not a list of keys"
            raise _error(override.partition("=")[0], what, "Correct the file")
    section[path[-1]] = value


def _error(dotted: str, what: str, remedy: str) -> SpecError:
    return SpecError([Problem(f"--set {dotted}".strip(), what, remedy)])
