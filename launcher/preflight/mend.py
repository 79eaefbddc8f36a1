"""A spec without what the checks found, where a finding says how (`launcher check --fix`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.planning import make_plan
from launcher.preflight.finding import Finding, Severity
from launcher.preflight.run import Report
from launcher.spec import JobSpec, load
from launcher.spec.edit import edited
from launcher.spec.fields import is_url
from launcher.spec.load import PATHS, is_bare
from launcher.spec.overrides import changes_of
from launcher.spec.yaml_tree import parse, scalar

_ROUNDS = 4
"""A mended spec may show what was hidden: another kind of checkpoint is worth another norm."""

Check = Callable[[Any], Report]
"""A plan's report, with the options of the command line."""


@dataclass(frozen=True)
class Mended:
    """`edits` are what was changed, as of --set; `report` is of the spec with them."""

    spec: JobSpec
    edits: tuple[str, ...]
    report: Report


def mend(path: Path, overrides: Sequence[str], found: Report, check: Check) -> Mended:
    """Raises SpecError when the edits contradict each other or the file."""
    edits: dict[str, str] = {}
    report = found
    for _ in range(_ROUNDS):
        new = {k: v for k, v in _edits(report.findings).items() if edits.get(k) != v}
        if not new:
            break
        edits |= new
        made = make_plan(load(path, [*overrides, *_texts(edits)]))
        report = check(made)
    spec = load(path, [*overrides, *_texts(edits)])
    return Mended(spec, tuple(_texts(edits)), report)


def _edits(findings: Sequence[Finding]) -> dict[str, str]:
    """By key; of two for the same key the costlier finding's, which comes first."""
    edits: dict[str, str] = {}
    for finding in findings:
        if finding.severity is not Severity.INFO:
            for edit in finding.edits:
                key, _, value = edit.partition("=")
                edits.setdefault(key, value)
    return edits


def _texts(edits: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in edits.items()]


def original_text(path: Path, spec: JobSpec) -> str:
    """The spec as it is written; of a bare pipeline.config the spec that it stands for."""
    if not is_bare(path):
        return path.read_text(encoding="utf-8-sig")
    return (
        f"# A job on {scalar(path.name)}, as `launcher check --fix` mended it.\n"
        f"name: {scalar(spec.name)}\npipeline_config: {scalar(str(spec.pipeline_config))}\n"
    )


def mended_text(
    path: Path, mended: Mended, overrides: Sequence[str], folder: Path | None = None
) -> str:
    """The text of the mended spec, for a file in `folder`: default the current one.

    What --set said is in it. Relative paths are of the file's folder, so they are written whole
    where the mended spec lies elsewhere.
    """
    text, values = original_text(path, mended.spec), mended.spec.model_dump(mode="json")
    keys = [tuple(p) for p in changes_of([*overrides, *mended.edits], JobSpec)]
    changes = {key: _value(values, key) for key in keys}
    if (folder or Path.cwd()).absolute() != path.parent.absolute():
        tree = parse(text, place=str(path)).value
        for key in PATHS:
            written = _value(tree, key)
            if key not in changes and written is not None:
                elsewhere = _elsewhere(written, _value(values, key))
                if elsewhere != written:
                    changes[key] = elsewhere
    return edited(text, changes)


def _elsewhere(written: Any, whole: Any) -> Any:
    """A path or a list of them as the file has them, the relative ones as `whole` has them."""
    if isinstance(written, list):
        return [_elsewhere(*pair) for pair in zip(written, whole, strict=True)]
    if is_url(written) or written.startswith(("/", "~")):
        return written
    return whole[0] if isinstance(whole, list) else whole


def _value(tree: Any, key: Sequence[str]) -> Any:
    for part in key:
        tree = tree.get(part) if isinstance(tree, dict) else None
    return tree
