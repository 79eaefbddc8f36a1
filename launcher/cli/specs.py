"""Commands about specs and plans: init, recipes, schema, plan, render. They start nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.cli.options import (
    AsJson,
    BackendName,
    GpuMemory,
    Overrides,
    RecipeName,
    RunDirOfSpec,
    SpecFile,
    echo_json,
    load,
)

if TYPE_CHECKING:
    from launcher.planning import Plan


def add_to(app: typer.Typer) -> None:
    for command in (init, recipes, schema, plan, render):
        app.command()(command)


def init(recipe: RecipeName) -> None:
    """Print a commented job spec at a published recipe.

    \b
    Example:
      launcher init efficientdet_d3 > d3.yaml
    """
    from launcher import spec

    typer.echo(spec.template(recipe).rstrip("\n"))


def recipes(as_json: AsJson = False) -> None:
    """List the published models: batch, rate, steps, mAP.

    \b
    Example:
      launcher recipes | grep efficientdet
    """
    from launcher import recipes as published
    from launcher.report.table import columns

    rows = published.rows()
    if as_json:
        echo_json(rows)
        return
    header = ["recipe", "input", "batch", "rate", "warm-up", "steps", "mAP"]
    for line in columns([header, *map(_recipe_cells, rows)]):
        typer.echo(line)


def _recipe_cells(row: dict[str, Any]) -> list[str]:
    points = row["published_map"]
    return [
        row["name"],
        row["input"],
        str(row["batch"]),
        f"{row['learning_rate']:.6g}",
        f"{row['warmup_steps']:,}",
        f"{row['total_steps']:,}",
        "-" if points is None else f"{points:g}",
    ]


def schema() -> None:
    """Print the JSON Schema of a job spec, for editors.

    \b
    Example:
      launcher schema > launcher.schema.json
      # first line of a spec: # yaml-language-server: $schema=launcher.schema.json
    """
    from launcher import spec

    echo_json(spec.json_schema())


def plan(
    spec: SpecFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Write plan.json, spec.yaml and the effective pipeline.config there.",
        ),
    ] = None,
    gpu_memory: GpuMemory = None,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Show a spec's batch, learning rate and steps, and why.

    \b
    Examples:
      launcher plan d3.yaml
      launcher plan d3.yaml --gpu-memory 24     # do a replica's images fit, and how many would?
      launcher plan pipeline.config --set batch.per_replica_batch=2
    """
    from launcher import api
    from launcher.cli.outputs import Inputs
    from launcher.cli.plan_table import print_plan
    from launcher.contract import PLAN_FILES
    from launcher.storage import OUTPUT

    job = load(spec, overrides, None, run_dir)
    if output is not None:
        Inputs.of(spec, job).keep(*(output / name for name in PLAN_FILES))
    made = api.plan(job)
    if output is not None:
        made.write(output, OUTPUT)
    if as_json:
        echo_json(made.to_json() | _memory(made, gpu_memory))
        return
    print_plan(made, gpu_memory)
    if output is not None:
        typer.echo(f"written to {output}: plan.json, spec.yaml, pipeline.config", err=True)


def _memory(made: "Plan", gpu_memory: float | None) -> dict[str, Any]:
    """Nothing when it is not asked for; null where the model was not traced."""
    if gpu_memory is None:
        return {}
    from launcher.planning.memory import fit_of

    fit = fit_of(made, gpu_memory)
    return {"memory": fit and fit.to_json()}


def render(
    spec: SpecFile,
    overrides: Overrides = None,
    backend: BackendName = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="For Kubernetes, as job, jobset, tfjob or rayjob. Default: the spec's.",
        ),
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|DIR|-",
            help="Where to write it; a folder gets one file an object. Default -: print it.",
        ),
    ] = "-",
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Print what submit starts: processes and files, or manifests.

    \b
    Examples:
      launcher render d3.yaml --json | jq .processes
      launcher render d3.yaml --kind jobset -o d3-jobset.yaml
      launcher render d3.yaml --backend kubernetes | kubectl apply -f -
    """
    from launcher import api
    from launcher.cli import manifests
    from launcher.cli.outputs import Inputs

    chosen = manifests.backend_of(backend, kind)
    job = load(spec, manifests.with_kind(overrides, kind), chosen, run_dir)
    keep = Inputs.of(spec, job).keep
    if job.backend.kind == "kubernetes":
        command = manifests.command(spec, overrides, backend, kind, run_dir)
        manifests.write(api.plan(job), command, output, as_json, keep)
    else:
        manifests.deliver(request_text(api.dry_run(job), as_json), output, keep)


def echo_request(request: dict[str, Any], as_json: bool) -> None:
    typer.echo(request_text(request, as_json).rstrip("\n"))


def request_text(request: dict[str, Any], as_json: bool) -> str:
    """YAML with texts of several lines as blocks, or JSON."""
    if as_json:
        import json

        return json.dumps(request, indent=2) + "\n"
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    shown: str = yaml.dump(request, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
    return shown
