"""Commands about specs and plans: init, recipes, schema, plan, render. They start nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.cli.options import (
    AsJson,
    BackendName,
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
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Show a spec's batch, learning rate and steps, and why.

    \b
    Examples:
      launcher plan d3.yaml
      launcher plan pipeline.config --set batch.per_replica_batch=2
    """
    from launcher import api

    made = api.plan(load(spec, overrides, None, run_dir))
    if output is not None:
        made.write(output)
    if as_json:
        echo_json(made.to_json())
        return
    _print_plan(made)
    if output is not None:
        typer.echo(f"written to {output}: plan.json, spec.yaml, pipeline.config", err=True)


def _print_plan(made: "Plan") -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from launcher.planning import table

    rows = table(made)
    names = ["", "recipe", "your file", "this run", "why"]
    fields = ["quantity", "recipe", "file", "run", "why"]
    shown = [i for i, f in enumerate(fields) if any(getattr(row, f) for row in rows)]
    grid = Table(box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for i in shown:
        right = fields[i] in ("recipe", "file", "run")
        grid.add_column(names[i], justify="right" if right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(getattr(row, fields[i])) for i in shown))
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=140)
    console.print(Text(f"{made.name}: {made.recipe or made.spec.pipeline_config}"))
    console.print(grid)
    for warning in made.warnings:
        console.print(Text(f"warning: {warning}"), soft_wrap=True)


def render(
    spec: SpecFile,
    overrides: Overrides = None,
    backend: BackendName = None,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Print the processes and files that submit makes.

    \b
    Example:
      launcher render d3.yaml --json | jq .processes
    """
    from launcher import api

    echo_request(api.dry_run(load(spec, overrides, backend, run_dir)), as_json)


def echo_request(request: dict[str, Any], as_json: bool) -> None:
    """YAML with texts of several lines as blocks, or JSON."""
    if as_json:
        echo_json(request)
        return
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> Any:
        style = "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    shown = yaml.dump(request, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000)
    typer.echo(shown.rstrip("\n"))
