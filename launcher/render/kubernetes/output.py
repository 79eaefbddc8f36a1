"""Objects as YAML that kubectl takes, with comments on top."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from launcher.planning import Plan

_PLAIN = re.compile(r"[A-Za-z/$]")
"""How a text may begin that stands without quotes. PyYAML and kubectl's parser do not agree about
numbers: 1e3 is a text to one and a thousand to the other."""
MOST_ANNOTATED_BYTES = 256 * 1024
"""Of all annotations of an object, their keys included."""
_ROOM_BYTES = 1024
"""For the copy's key, and for annotations that others add."""
_WORDS = frozenset(("y", "n", "Y", "N"))


def to_yaml(objects: Iterable[Mapping[str, Any]], comments: Sequence[str] = ()) -> str:
    """Documents in one text; `comments` are lines without their #. The same in, the same out."""
    # A line break in a --set must not end the comment.
    lines = (part for line in comments for part in line.splitlines() or [""])
    head = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    bodies = [
        yaml.dump(dict(found), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31 - 1)
        for found in objects
    ]
    return head + "---\n".join(bodies)


def apply_command(objects: Iterable[Mapping[str, Any]]) -> str:
    """`kubectl apply`, with --server-side when there is an object that it needs it for."""
    return "kubectl apply --server-side" if any(map(_is_large, objects)) else "kubectl apply"


def _is_large(found: Mapping[str, Any]) -> bool:
    """Plain apply keeps a copy of an object in one of its annotations. It is written by Go, which
    has six bytes for each of these three characters."""
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    escaped = sum(text.count(c) for c in "<>&")
    return len(text.encode()) + 5 * escaped > MOST_ANNOTATED_BYTES - _ROOM_BYTES


def comments(plan: "Plan", command: str) -> list[str]:
    """The command that made it, and the plan's arithmetic in three lines."""
    each = f"{plan.gpus_per_worker} GPU{_s(plan.gpus_per_worker)}"
    replicas = f"{plan.workers} worker{_s(plan.workers)} x {each}"
    if not plan.gpus_per_worker:
        replicas = f"{plan.workers} worker{_s(plan.workers)} on CPUs"
    images = f"{plan.per_replica_batch} image{_s(plan.per_replica_batch)}"
    accumulated = (
        f" x {plan.accumulation_steps} accumulation steps" if plan.accumulation_steps > 1 else ""
    )
    epochs = f", {plan.epochs:g} epochs" if plan.epochs else ""
    target = f"; target mAP {plan.target_map:g}" if plan.target_map is not None else ""
    reference = plan.recipe if plan.reference_is_recipe and plan.recipe else "the config"
    return [
        command,
        "",
        f"{replicas} x {images}{accumulated} = {plan.global_batch} images a step"
        f" ({reference}: {plan.reference_batch})",
        f"learning rate {plan.learning_rate:.6g} after {plan.warmup_steps:,} warm-up steps",
        f"{plan.total_steps:,} steps = {plan.images_seen:,} images{epochs}{target}",
    ]


def _s(count: int) -> str:
    return "" if count == 1 else "s"


class _Dumper(yaml.SafeDumper):
    """No anchors; lists in from their key; a text of several lines as a block."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None if _PLAIN.match(value) and value not in _WORDS else '"'
    if "\n" in value:
        style = "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
