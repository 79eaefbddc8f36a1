"""`launcher data stats`, `audit`, `clean` and `view`: what the model is fed with."""

from pathlib import Path
from typing import Annotated

import typer

from launcher.cli.options import AsJson, Overrides, SpecFile, echo_json, load

SAMPLE = 2000

Full = Annotated[bool, typer.Option("--full", help="Decode every image, on all cores.")]
Sample = Annotated[
    int, typer.Option("--sample", metavar="N", min=1, help="Images to decode of each set.")
]


def add_to(app: typer.Typer) -> None:
    for command in (stats,):
        app.command()(command)


def stats(
    spec: SpecFile,
    overrides: Overrides = None,
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Write them as PNG into this folder, too."),
    ] = None,
    sample: Sample = SAMPLE,
    full: Full = False,
    as_json: AsJson = False,
) -> None:
    """Count classes, sizes and objects, as the model of SPEC sees them.

    Object sizes are at the model's input, before augmentation; "matched" is the share of the
    objects that have an anchor over 0.5 IoU. All records are counted, a sample is decoded.

    \b
    Examples:
      launcher data stats d3.yaml
      launcher data stats pipeline.config --plots plots --full
      launcher data stats d3.yaml --json | jq .train.classes
    """
    from launcher import audit

    plan, read = audit.read(load(spec, overrides, None, None), sample=sample, full=full)
    from launcher.audit.stats import stats_of

    found = stats_of(plan, read)
    drawn: list[Path] = []
    if plots:
        from launcher.audit.plots import draw

        drawn = draw(found, plots)
    if as_json:
        echo_json(found.to_json() | {"plots": [str(path) for path in drawn]})
        return
    from launcher.audit.tables import lines

    for line in lines(found):
        typer.echo(line)
    for path in drawn:
        typer.echo(f"{path}")
