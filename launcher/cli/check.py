"""`launcher check`: what keeps a spec from its number, before it costs anything."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli.options import (
    AsJson,
    GpuMemory,
    Overrides,
    RunDirOfSpec,
    SpecFile,
    echo_json,
    load,
)

if TYPE_CHECKING:
    from launcher.preflight.mend import Mended
    from launcher.preflight.run import Report
    from launcher.spec import JobSpec


def add_to(app: typer.Typer) -> None:
    app.command()(check)


def check(
    spec: SpecFile,
    overrides: Overrides = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Write a spec without what was found to stdout.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="With --fix: write it there."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("-i", "--in-place", help="With --fix: change SPEC itself.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings are errors.")] = False,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=0, help="Images to decode of each set."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Decode every image.")] = False,
    gpu_memory: GpuMemory = None,
    run_dir: RunDirOfSpec = None,
    as_json: AsJson = False,
) -> None:
    """Say what would keep a spec from its mAP.

    What is wrong, what it costs and what to write instead, the costliest first. All records are
    counted, a sample of the images is decoded. Exit code 3 when there is an error: `submit` stops
    at it.

    \b
    Examples:
      launcher check d3.yaml
      launcher check pipeline.config --set batch.per_replica_batch=2
      launcher check pipeline.config --fix > d3.yaml   # a spec without what was found
      launcher check d3.yaml --full --strict --json | jq .summary
    """
    from launcher import api
    from launcher.cli.findings import print_report
    from launcher.errors import CliExit, UsageError
    from launcher.preflight import Options

    if (output or in_place) and not fix:
        raise UsageError("-o and -i are for --fix", remedy="Give --fix, too")
    if output and in_place:
        raise UsageError("-o and -i exclude each other", remedy="Give one of them")
    options = Options(sample=sample, full=full, gpu_memory=gpu_memory)
    job = load(spec, overrides, None, run_dir)
    if output is not None:
        _keep_inputs(spec, job, output)
    found = api.check(job, options)
    shown = found.strict() if strict else found
    if fix:
        extra = list(overrides or ())
        mended = api.mend(spec, extra, found, options)
        _write_mended(spec, extra, shown, mended, output, in_place, as_json)
        shown = mended.report.strict() if strict else mended.report
    elif as_json:
        echo_json(shown.to_json())
    else:
        print_report(shown)
        _say_next(spec, list(overrides or ()), shown)
    if not shown.passed:
        raise typer.Exit(int(CliExit.PREFLIGHT))


def _keep_inputs(spec: Path, job: "JobSpec", output: Path) -> None:
    from launcher.cli.outputs import Inputs
    from launcher.spec.load import is_bare

    inputs, in_place = Inputs.of(spec, job), "Give -i instead of -o to change SPEC itself"
    if is_bare(spec):
        inputs.keep(output, remedy="Write the job spec beside it, as with -o d3.yaml")
    Inputs(inputs.files[:1]).keep(output, remedy=in_place)
    inputs.keep(output)


def _say_next(spec: Path, overrides: list[str], report: "Report") -> None:
    import shlex

    if any(f.edits for f in (*report.errors, *report.warnings)):
        options = [part for override in overrides for part in ("--set", override)]
        command = shlex.join(["launcher", "check", str(spec), *options, "--fix"])
        typer.echo(f"`{command}` writes a spec that mends them", err=True)


def _write_mended(
    spec: Path,
    overrides: list[str],
    found: "Report",
    mended: "Mended",
    output: Path | None,
    in_place: bool,
    as_json: bool,
) -> None:
    """The findings and the difference go to stderr, so that stdout has the spec alone."""
    from launcher.cli.findings import print_report, summary
    from launcher.errors import UsageError
    from launcher.preflight.mend import mended_text, original_text
    from launcher.spec.load import is_bare
    from launcher.storage import write_output

    if in_place and is_bare(spec):
        raise UsageError(
            "is a pipeline.config, and what is mended is a job spec",
            place=str(spec),
            remedy="Write it with -o d3.yaml",
        )
    target = spec if in_place else output
    folder = target.parent if target else None
    text = mended_text(spec, mended, overrides, folder)
    if as_json:
        echo_json(
            {
                **found.to_json(),
                "edits": list(mended.edits),
                "mended": text,
                "left": mended.report.to_json()["findings"],
            }
        )
    else:
        print_report(found, err=True)
        _print_difference(original_text(spec, mended.spec), text, spec, target)
        typer.echo(f"with these changes: {summary(mended.report)}", err=True)
    if target is not None:
        write_output(target, text)
        typer.echo(f"written to {target}", err=True)
    elif not as_json:
        typer.echo(text.rstrip("\n"))


def _print_difference(before: str, after: str, spec: Path, target: Path | None) -> None:
    import difflib

    names = (str(spec), str(target or "mended"))
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="", n=1)
    for line in lines:
        typer.echo(line, err=True)
