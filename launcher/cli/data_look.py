"""`launcher data stats`, `audit`, `clean` and `view`: what the model is fed with."""

from pathlib import Path
from typing import Annotated

import typer

from launcher.cli.options import AsJson, Overrides, RunDirOfSpec, SpecFile, echo_json, load

SAMPLE = 2000

SHOWN = 40
"""Faults that are printed; -o and --json have all."""

Full = Annotated[bool, typer.Option("--full", help="Decode every image, on all cores.")]
Sample = Annotated[
    int, typer.Option("--sample", metavar="N", min=1, help="Images to decode of each set.")
]


def add_to(app: typer.Typer) -> None:
    for command in (stats, audit, clean, view):
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
    run_dir: RunDirOfSpec = None,
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

    plan, read = audit.read(load(spec, overrides, None, run_dir), sample=sample, full=full)
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


def audit(
    spec: SpecFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write all faults as JSON lines."),
    ] = None,
    sample: Sample = SAMPLE,
    full: Full = False,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """List every fault of the records by itself.

    With file, record, source id, and what to do: damaged records, images that cannot be decoded,
    bad boxes and labels, repeated images, images in train and val. Without --full, of a sample
    only. Exit code 3 when training or evaluation would stop at one of them.

    \b
    Examples:
      launcher data audit d3.yaml --full
      launcher data audit d3.yaml --full -o faults.jsonl
    """
    from launcher import audit as audits

    job = load(spec, overrides, None, run_dir)
    if output:
        from launcher.cli.outputs import Inputs

        Inputs.of(spec, job).keep(output)
    _, read = audits.read(job, sample=sample, full=full)
    from launcher.audit.faults import FILE, entries
    from launcher.preflight import Severity
    from launcher.preflight.data_cost import many

    found = entries(read)
    if output:
        _write_lines(output, [entry.to_json() for entry in found])
    if as_json:
        looked = {split.name: split.contents.looked_at for split in read.splits}
        echo_json({"looked_at": looked, "faults": [entry.to_json() for entry in found]})
    else:
        for entry in found[:SHOWN]:
            typer.echo(f"{entry}")
        if len(found) > SHOWN:
            rest = f"are in {output}" if output else "come with -o FILE or --json"
            typer.echo(f"... and {len(found) - SHOWN:,} more, which {rest}")
        for split in read.splits:
            mine = [e for e in found if e.split == split.name]
            bad = len({(e.path, e.record) for e in mine if e.kind != FILE})
            files = len({e.path for e in mine if e.kind == FILE})
            part = "" if split.is_whole else f" ({split.count:,} are there: --full looks at all)"
            typer.echo(
                f"{split.name}: {bad:,} of {split.contents.looked_at:,} records with a fault{part}"
                + (f", {many(files, 'empty or unreadable file')}" if files else "")
            )
    if any(entry.severity is Severity.ERROR for entry in found):
        from launcher.errors import CliExit

        raise typer.Exit(int(CliExit.PREFLIGHT))


def clean(
    spec: SpecFile,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New folder.")],
    overrides: Overrides = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier one left there.")
    ] = False,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Write a mended copy of the records, and what was dropped from it.

    Records that cannot be used are left out, and so are copies and train images that are in val.
    Bad boxes and labels are mended or left out. All else is copied byte by byte. clean.json in DIR
    lists every change with file, record and source id.

    \b
    Example:
      launcher data clean d3.yaml -o /data/clean
    """
    from launcher import audit as audits

    plan, read = audits.read(load(spec, overrides, None, run_dir), sample=0, full=True)
    from launcher.audit.cleaning import clean as write
    from launcher.spec.yaml_tree import scalar

    report = write(plan, read, out.absolute(), force=force)
    if as_json:
        echo_json(report.to_json())
        return
    for change in report.dropped[:SHOWN]:
        named = f", source id {change.source_id}" if change.source_id else ""
        typer.echo(f"{change.action:<7} {change.place}{named}: {change.what}")
    if len(report.dropped) > SHOWN:
        typer.echo(f"... and {len(report.dropped) - SHOWN:,} more, which are in clean.json")
    for name, images in report.images.items():
        counts = {a: report.count(name, a) for a in ("record", "object", "mended")}
        typer.echo(
            f"{name}: {images:,} of {report.read[name]:,} records; left out {counts['record']:,} "
            f"records and {counts['object']:,} objects, mended {counts['mended']:,} values"
        )
    for name in ("train", "val", "label_map"):
        typer.echo(f"  data.{name}: {scalar(getattr(report, name))}")


def view(
    spec: SpecFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="New folder. Default: NAME-view."),
    ] = None,
    val: Annotated[bool, typer.Option("--val", help="The val set, not train.")] = False,
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, max=100, help="Of each section.")
    ] = 8,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=0, max=8, help="Augmented, of each image.")
    ] = 2,
    sample: Sample = SAMPLE,
    full: Full = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier view.")] = False,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Draw images as the model gets them, the worst first.

    With boxes and class names, after resizing and augmentation, by the worker's own input. The
    sections: what check flags, the smallest objects, the most crowded images, objects that no
    anchor fits, others. One page (index.html) and a PNG a section.

    \b
    Examples:
      launcher data view d3.yaml
      launcher data view pipeline.config --images 16 --draws 3 -o look --full
    """
    from launcher import audit as audits
    from launcher.backends.machine import check_training_extra

    check_training_extra()
    job = load(spec, overrides, None, run_dir)
    folder = (out or Path(f"{job.name}-view")).absolute()
    plan, read = audits.read(job, sample=sample, full=full)
    from launcher.audit import view as views
    from launcher.backends.views import draw

    views.empty_folder(folder, force=force)
    split = read.val if val else read.train
    made = views.view(plan, read, split, folder, images=images, draws=draws, draw=draw)
    if as_json:
        sheets = [str(path) for path in made.sheets]
        echo_json({"page": str(made.page), "sheets": sheets, "records": made.records})
        return
    for path in (made.page, *made.sheets):
        typer.echo(f"{path}")


def _write_lines(path: Path, rows: list[dict[str, object]]) -> None:
    import json

    from launcher.storage import write_output

    write_output(path, "".join(json.dumps(row) + "\n" for row in rows))
