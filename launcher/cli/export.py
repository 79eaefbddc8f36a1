"""`launcher export`: a trained model for those who use it."""

from pathlib import Path
from typing import Annotated

import typer

from launcher.cli.options import AsJson, RunDir, RunName, echo_json


def add_to(app: typer.Typer) -> None:
    app.command()(export)


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
    """Write a checkpoint as a SavedModel, with the model zoo's signature.

    DIR gets saved_model/, checkpoint/ and pipeline.config, as a tarball of the zoo has them. The
    detections are those that the evaluator scores. A run may go on meanwhile.

    \b
    Examples:
      launcher export d3                        # the newest checkpoint
      launcher export d3 --step 250000 -o d3-model
    """
    from launcher import api
    from launcher.contract import EXPORT_RECORD, read_json

    folder = api.export(name, run_dir, step=step, output=output, replace=replace)
    if as_json:
        echo_json({"folder": str(folder), **(read_json(folder / EXPORT_RECORD) or {})})
    else:
        typer.echo(f"{name} is exported to {folder}")
