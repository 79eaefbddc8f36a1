"""Commands about a run's weights: export, variables."""

from pathlib import Path
from typing import Annotated, Any

import typer

from launcher.cli.options import AsJson, RunDir, RunName, echo_json


def add_to(app: typer.Typer) -> None:
    app.command()(export)
    app.command()(variables)


def export(
    name: RunName,
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="N", help="Of the checkpoint. Default: the newest."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Default: export/step-N in the run's folder."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Overwrite a model that was exported there.")
    ] = False,
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """Write a checkpoint as a SavedModel.

    It has the model zoo's signature. DIR gets saved_model/, checkpoint/ and pipeline.config, as a
    tarball of the zoo has them. The detections are those that the evaluator scores. A run may go
    on meanwhile.

    \b
    Examples:
      launcher export d3                        # the newest checkpoint
      launcher export d3 --step 250000 -o d3-model
    """
    from launcher import api
    from launcher.contract import EXPORT_RECORD
    from launcher.storage import read_json

    folder = api.export(name, run_dir, step=step, output=output, replace=replace)
    if as_json:
        echo_json({"folder": str(folder), **(read_json(folder / EXPORT_RECORD) or {})})
    else:
        typer.echo(f"{name} is exported to {folder}")


def variables(
    name: RunName,
    grep: Annotated[
        str | None,
        typer.Option("--grep", metavar="REGEX", help="Only those that train.freeze would match."),
    ] = None,
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """List the variables that can be frozen.

    The names are those that train.freeze knows. A run has the list once its first worker has built
    the model.

    \b
    Examples:
      launcher variables d3
      launcher variables d3 --grep '^backbone/(stem|stack_[0-3])'
    """
    from launcher import api
    from launcher.report.table import columns

    found = _matching(api.find(name, run_dir).root, grep)
    if as_json:
        echo_json(found)
        return
    for line in columns([[one["name"], str(one["shape"])] for one in found]):
        typer.echo(line)
    typer.echo(f"{len(found)} variables, {sum(one['parameters'] for one in found):,} parameters")


def _matching(root: Path, pattern: str | None) -> list[dict[str, Any]]:
    """Raises UsageError before a run has told its variables, and for a pattern that is none."""
    import re

    from launcher.contract import RunPaths, pattern_matches
    from launcher.errors import UsageError
    from launcher.storage import read_json

    found = read_json(RunPaths(root).variables)
    if not isinstance(found, list):
        raise UsageError(
            "its workers have not built the model yet",
            place=root.name,
            remedy=f"`launcher status {root.name}` says how far it is",
        )
    try:
        return [one for one in found if pattern is None or pattern_matches(pattern, one["name"])]
    except re.error as e:
        raise UsageError(
            f'"{pattern}" is no regular expression ({e})', place="--grep", remedy="Correct it"
        ) from None
