"""`launcher dashboard`: the page of a run in Ray's dashboard."""

from typing import Annotated

import typer

from launcher.cli.options import AsJson, RunDir, RunName, echo_json


def add_to(app: typer.Typer) -> None:
    app.command()(dashboard)


def dashboard(
    name: RunName,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser, too.")] = False,
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """Print where Ray's dashboard shows a run.

    \b
    Example:
      launcher dashboard d3 --open
    """
    from launcher import api

    url = api.dashboard(name, run_dir)
    if as_json:
        echo_json({"name": name, "url": url})
    else:
        typer.echo(url)
    if open_it:
        typer.launch(url)
