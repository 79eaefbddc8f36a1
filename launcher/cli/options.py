"""Options and arguments that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from launcher.spec import JobSpec


def _run_names(incomplete: str) -> list[str]:
    from launcher.backends import registry

    return [r.name for r in registry.all_roots() if r.name.startswith(incomplete)]


def _recipe_names(incomplete: str) -> list[str]:
    from launcher import recipes

    return [name for name in recipes.names() if name.startswith(incomplete)]


_MOST_MEMORY = 1e6
"""GiB of an accelerator: far above any, and far below what a float cannot count images in."""


def _memory(gib: float | None) -> float | None:
    if gib is not None and not 0 < gib <= _MOST_MEMORY:  # NaN is neither
        raise typer.BadParameter(f"{gib:g} is no memory in GiB: use one above 0, as 24")
    return gib


SpecFile = Annotated[
    Path,
    typer.Argument(metavar="SPEC", help="A job spec (YAML), or a bare pipeline.config."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a field of the spec, as batch.per_replica_batch=8. Repeatable.",
    ),
]
BackendName = Annotated[
    str | None,
    typer.Option("--backend", metavar="NAME", help="Where to run, instead of the spec's."),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="URL",
        help="Ray's dashboard, as http://HOST:8265. Default: the spec's, RAY_ADDRESS, a new Ray.",
    ),
]
RunDir = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        metavar="DIR",
        envvar="LAUNCHER_RUN_DIR",
        help="The folder that holds the runs. Default: ./runs, then all that were submitted.",
    ),
]
RunDirOfSpec = Annotated[
    Path | None,
    typer.Option(
        "--run-dir",
        metavar="DIR",
        envvar="LAUNCHER_RUN_DIR",
        help="The folder that holds the runs. Default: the spec's run_dir, or ./runs.",
    ),
]
GpuMemory = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory",
        metavar="GIB",
        callback=_memory,
        help="Memory of one accelerator, as 24: do the images of a replica fit?",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunName = Annotated[
    str, typer.Argument(metavar="NAME", help="The run's name.", autocompletion=_run_names)
]
RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A published model, as `launcher recipes` lists them.",
        autocompletion=_recipe_names,
    ),
]


def load(
    path: Path,
    overrides: list[str] | None,
    backend: str | None,
    run_dir: Path | None,
    address: str | None = None,
) -> "JobSpec":
    """The spec of a command line; --backend, --address and --run-dir win over the file and over
    --set."""
    from launcher import api, backends
    from launcher.spec.overrides import setting

    extra = list(overrides or ())
    if backend is not None:
        backends.get(backend)
        extra.append(setting("backend.kind", backend))
    if address is not None:
        extra.append(setting("backend.ray.address", address))
    if run_dir is not None:
        extra.append(setting("run_dir", str(run_dir.absolute())))
    return api.load(path, extra)


def echo_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=2))
