"""`launcher data`: data sets as records; data_look has the commands that look at them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from launcher.cli import data_look
from launcher.cli.options import AsJson, echo_json

app = typer.Typer(
    help="Make data sets, and look at them as the model does.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier one left there.")]


@app.command()
def convert(
    annotations: Annotated[
        Path, typer.Argument(metavar="ANNOTATIONS", help="COCO instances JSON file.")
    ],
    images: Annotated[Path, typer.Argument(metavar="IMAGES", help="Folder of the images.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New folder.")],
    prefix: Annotated[
        str, typer.Option(metavar="NAME", help="Of the files: NAME.record-00000-of-00100.")
    ] = "train",
    shards: Annotated[int, typer.Option(metavar="N", help="Number of files.")] = 100,
    processes: Annotated[int | None, typer.Option(metavar="N", help="Default: one a core.")] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N images by id.")
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option("--skip-bad", help="Leave bad boxes and unreadable images out, and say so."),
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Convert COCO JSON and images to sharded records and a label map.

    The folder appears only when it is complete; the same input gives the same bytes.

    \b
    Example:
      launcher data convert instances_train2017.json train2017/ -o /data/coco_train --shards 100
    """
    from launcher import data

    report = data.convert(
        annotations,
        images,
        out,
        prefix,
        shards,
        processes=processes,
        limit=limit,
        skip_bad=skip_bad,
        force=force,
    )
    if as_json:
        echo_json(_plain(report))
        return
    typer.echo(
        f"{report.pattern}: {report.images:,} images ({report.empty_images:,} without an object), "
        f"{report.objects:,} objects, {report.crowds:,} of them crowds"
    )
    typer.echo(f"{report.label_map}")
    for what, found in (
        ("boxes without an area, left out", report.zero_size),
        ("boxes that stuck out by a pixel, clipped", report.clipped),
        ("bad boxes, left out", report.bad_boxes),
        ("bad images, left out", report.bad_images),
        ("images that viewers turn by an EXIF mark, and training does not", report.turned),
    ):
        if found:
            typer.echo(f"{len(found):,} {what}: {_few(found)}")


@app.command()
def shapes(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="New folder.")],
    train_images: Annotated[int, typer.Option(metavar="N")] = 2000,
    val_images: Annotated[int, typer.Option(metavar="N")] = 200,
    image_size: Annotated[int, typer.Option(metavar="PIXELS", help="Side of the images.")] = 128,
    seed: Annotated[int, typer.Option(metavar="N")] = 0,
    background: Annotated[
        str, typer.Option(metavar="KIND", help="flat, or patchy: harder.")
    ] = "flat",
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Draw a synthetic set of shapes with exact boxes.

    Squares, circles and triangles.

    \b
    Example:
      launcher data shapes /tmp/shapes --train-images 2000
    """
    from launcher import data

    report = data.make_shapes(
        out,
        train_images=train_images,
        val_images=val_images,
        image_size=image_size,
        seed=seed,
        background=background,
        force=force,
    )
    if as_json:
        echo_json(_plain(report))
        return
    typer.echo(f"{report.train}: {report.train_images:,} images, {report.train_objects:,} objects")
    typer.echo(f"{report.val}: {report.val_images:,} images, {report.val_objects:,} objects")
    typer.echo(f"{report.label_map}")


data_look.add_to(app)


def _plain(report: Any) -> dict[str, Any]:
    """A report as JSON has it: paths as text."""
    from dataclasses import asdict

    values = asdict(report)
    for name, value in values.items():
        if isinstance(value, Path):
            values[name] = str(value)
        elif isinstance(value, tuple):
            values[name] = [str(item) for item in value]
    return values


def _few(items: tuple[str, ...], count: int = 5) -> str:
    more = f" and {len(items) - count:,} more" if len(items) > count else ""
    return f"{', '.join(items[:count])}{more}"
