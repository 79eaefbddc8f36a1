"""Commands that tell what came out of runs: results, compare."""

from pathlib import Path
from typing import Annotated

import typer

from launcher.cli.options import AsJson, RunDir, RunName, _run_names, echo_json

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
]


def add_to(app: typer.Typer) -> None:
    app.command()(results)
    app.command()(compare)


def results(
    name: RunName,
    html: Annotated[
        bool, typer.Option("--html", help="Write one page with everything; print its path.")
    ] = False,
    csv: Annotated[
        bool, typer.Option("--csv", help="Print the scores of all checkpoints as CSV.")
    ] = False,
    training: Annotated[
        bool, typer.Option("--training", help="With --csv: the recorded steps instead.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    output: Output = None,
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """Print the mAP of a run. Exit code 4 when it is below the target, 1 when the run failed.

    \b
    Examples:
      launcher results d3
      launcher results d3 --json | jq .final.mAP
      launcher results d3 --html                   # runs/d3/report/index.html
      launcher results d3 --csv -o scores.csv      # step, images, 12 numbers, each category
      launcher results d3 --csv --training         # loss, rate, speed of each recorded step
      launcher results d3 --markdown >> notes.md
    """
    from launcher import api
    from launcher.cli import outcome
    from launcher.cli.outputs import keep_runs
    from launcher.contract import State
    from launcher.report import export, page

    _one_of(html=html, csv=csv, markdown=markdown, json=as_json)
    if training and not csv:
        _usage("--training is for --csv", "Give both, or none")
    if output and not (html or csv or markdown):
        _usage("--output is for --html, --csv or --markdown", "Give one of them")
    handle = api.find(name, run_dir)
    if output:
        keep_runs(output, [handle.paths])
    if html:
        typer.echo(page.write(outcome.record_of(handle), output))
    elif csv:
        run = outcome.record_of(handle)
        _print(export.training_csv(run) if training else export.scores_csv(run), output)
    elif markdown:
        _print(export.markdown(outcome.record_of(handle)), output)
    else:
        outcome.show_results(handle, as_json, with_history=True)
    now = handle.status()
    if now.state is State.FAILED:
        outcome.raise_failure(now)
    outcome.raise_miss(handle)


def compare(
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME NAME ...", help="Runs.", autocompletion=_run_names),
    ],
    html: Annotated[
        bool, typer.Option("--html", help="Write one page, compare.html or --output.")
    ] = False,
    output: Output = None,
    run_dir: RunDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what differs between runs beside what came out of them.

    What differs: spec, plan, pipeline.config, fingerprints of the data, versions.

    \b
    Examples:
      launcher compare d3 d3-group-norm
      launcher compare d3 d3-group-norm --json | jq .differences.spec
      launcher compare demo-seed-0 demo-seed-1 demo-seed-2 --html -o seeds.html
    """
    from launcher import api
    from launcher.cli import outcome
    from launcher.cli.outputs import keep_runs
    from launcher.report import compare as comparing
    from launcher.report import compare_page

    _one_of(html=html, json=as_json)
    if len(names) < 2:
        _usage("one run cannot be compared", "Name two or more; `launcher list` shows all")
    if output and not html:
        _usage("--output is for --html", "Give both, or none")
    handles = [api.find(name, run_dir) for name in names]
    if output:
        keep_runs(output, [handle.paths for handle in handles])
    found = comparing.compare([outcome.record_of(handle) for handle in handles])
    if html:
        typer.echo(compare_page.write(found, output or Path("compare.html")))
    elif as_json:
        echo_json(found.to_json())
    else:
        for line in comparing.lines(found):
            typer.echo(line)


def _print(text: str, output: Path | None) -> None:
    from launcher.storage import write_output

    if output is None:
        typer.echo(text, nl=False)
    else:
        write_output(output, text)
        typer.echo(output)


def _one_of(**given: bool) -> None:
    chosen = [f"--{name}" for name, on in given.items() if on]
    if len(chosen) > 1:
        _usage(f"{' and '.join(chosen)} exclude each other", "Give one of them")


def _usage(what: str, remedy: str) -> None:
    from launcher.errors import UsageError

    raise UsageError(what, remedy=remedy)
