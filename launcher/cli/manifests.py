"""What `launcher render` does with the objects of Kubernetes: YAML or JSON, printed or written."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from launcher.planning import Plan


def with_kind(overrides: list[str] | None, kind: str | None) -> list[str]:
    """--kind is one of the spec's settings, so that the run keeps it."""
    from launcher.spec.overrides import setting

    return [*(overrides or ()), *([setting("backend.kubernetes.kind", kind)] if kind else ())]


def backend_of(backend: str | None, kind: str | None) -> str | None:
    """--kind says which backend is meant; None: the spec does. Raises UsageError."""
    if kind is None:
        return backend
    if backend not in (None, "kubernetes"):
        from launcher.errors import UsageError

        raise UsageError(
            f"is for Kubernetes, --backend is {backend}",
            place=f"--kind {kind}",
            remedy="Remove one of the two",
        )
    return "kubernetes"


def command(
    spec: Path, overrides: list[str] | None, backend: str | None, kind: str | None, run_dir: Any
) -> str:
    """As it would be typed again: where the output went is no part of what it is."""
    words = ["launcher", "render", str(spec)]
    for name, value in (("--backend", backend), ("--kind", kind), ("--run-dir", run_dir)):
        words += [name, str(value)] if value is not None else []
    for override in overrides or ():
        words += ["--set", override]
    return shlex.join(words)


Keep = Callable[[Path], None]
"""Raises UsageError for a file that must not be written."""


def write(plan: "Plan", line: str, output: str, as_json: bool, keep: Keep) -> None:
    """All objects of a plan. A folder gets them one by one, numbered in the order in which
    `kubectl apply -f DIR` applies them."""
    from launcher.render import kubernetes
    from launcher.render.kubernetes.output import apply_command, comments, to_yaml

    objects = kubernetes.objects(plan)
    apply = apply_command(objects)
    head = comments(plan, line)
    if "--server-side" in apply:
        warning = f"too large for plain `kubectl apply`, which keeps a copy: {apply} -f ..."
        head += ["", warning]
        typer.echo(f"warning: {warning}", err=True)
    if output == "-" or not _is_folder(output):
        deliver(_json(objects) if as_json else to_yaml(objects, head), output, keep)
        return
    texts = {}
    for i, found in enumerate(objects):
        name = f"{i}-{found['kind'].lower()}-{found['metadata']['name']}"
        text = json.dumps(found, indent=2) + "\n" if as_json else to_yaml([found], head)
        texts[Path(output) / f"{name}.{'json' if as_json else 'yaml'}"] = text
    for path in texts:
        keep(path)
    for path, text in texts.items():
        _save(path, text)
    _told(output, objects, apply)


def deliver(text: str, output: str, keep: Keep) -> None:
    if output == "-":
        typer.echo(text.rstrip("\n"))
        return
    if _is_folder(output):
        from launcher.errors import UsageError

        raise UsageError("is a folder", place=output, remedy="Give -o the name of a file")
    keep(Path(output))
    _save(Path(output), text)


def _is_folder(output: str) -> bool:
    return output.endswith("/") or Path(output).is_dir()


def _json(objects: list[dict[str, Any]]) -> str:
    """As `kubectl get -o json` prints several: kubectl applies it too."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=2) + "\n"


def _save(path: Path, text: str) -> None:
    from launcher.storage import write_output

    write_output(path, text)


def _told(output: str, objects: list[dict[str, Any]], apply: str) -> None:
    typer.echo(f"{len(objects)} objects in {output}: {apply} -f {output}", err=True)
