"""`launcher overfit` and `launcher baseline`: short runs that tell bad data from bad training."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.cli.options import AsJson, Overrides, RunDirOfSpec, SpecFile, echo_json, load

if TYPE_CHECKING:
    from launcher.api import Prepared
    from launcher.backends.base import JobHandle
    from launcher.diagnose.verdict import Verdict
    from launcher.preflight.finding import Finding

Detach = Annotated[
    bool,
    typer.Option("--detach", "-d", help="Return when it has started. `results` has the mAP."),
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Delete an earlier run of this kind first.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Start in spite of errors of `launcher check`.")
]
Rate = Annotated[
    float | None,
    typer.Option("--rate", metavar="R", help="Peak of the learning rate. Default: by the plan's."),
]


def add_to(app: typer.Typer) -> None:
    for command in (overfit, baseline):
        app.command()(command)


def overfit(
    spec: SpecFile,
    images: Annotated[
        int, typer.Option("--images", metavar="N", help="Train images to learn by heart.")
    ] = 16,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Of the optimizer.")
    ] = 400,
    rate: Rate = None,
    overrides: Overrides = None,
    run_dir: RunDirOfSpec = None,
    detach: Detach = False,
    replace: Replace = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Train on a few images until they are known by heart.

    What does not learn sixteen images has a fault in its records, labels, boxes, loss or
    evaluation that no long training mends. It takes N train images with objects as train and val,
    without augmentation, all in every step, on this machine, as the run NAME-overfit. Exit code 4
    when their mAP is below 0.8.

    \b
    Examples:
      launcher overfit d3.yaml
      launcher overfit d3.yaml --images 4 --steps 300 --set cluster.gpus_per_worker=0
      launcher overfit pipeline.config --replace --json | jq .verdict
    """
    from launcher.diagnose import overfit as diagnosis

    asked = diagnosis.Asked(images, steps, _above_zero(rate))
    job = load(spec, overrides, None, run_dir)
    made = diagnosis.prepare(job, asked, replace=replace, force=force, say=_say)
    _run(made, diagnosis.verdict, detach, replace, as_json)


def baseline(
    spec: SpecFile,
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint",
            metavar="DIR",
            help="A trained detector: an unpacked tarball of the model zoo, a run, an export.",
        ),
    ],
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, help="Of the fine-tuning.")
    ] = 300,
    rate: Rate = None,
    overrides: Overrides = None,
    run_dir: RunDirOfSpec = None,
    detach: Detach = False,
    replace: Replace = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Score a checkpoint on this data, fine-tune it, score it again.

    The first mAP is far below the one that is known for it: val images, boxes or label map are
    suspect. The second is below the first: the train records are. Neither: the data are sane. The
    known mAP is the published one, or evaluate.target_map. The fine-tuning is the run
    NAME-baseline, 300 steps of about 32 images at a tenth of the rate. Exit code 4 when the data
    are suspect.

    \b
    Examples:
      launcher baseline d3.yaml --checkpoint efficientdet_d3_coco17_tpu-32
      launcher baseline d3.yaml --checkpoint runs/d3 --steps 100
      launcher baseline own.yaml --checkpoint runs/own --set evaluate.target_map=41
    """
    from launcher.diagnose import baseline as diagnosis

    asked = diagnosis.Asked(checkpoint, steps, _above_zero(rate))
    job = load(spec, overrides, None, run_dir)
    found = diagnosis.prepare(job, asked, replace=replace, force=force, say=_say)
    before = float(found.before["mAP"])
    if not as_json:
        typer.echo(f"{job.name}: mAP {before:.3f} of {asked.checkpoint} as it is", err=True)
    _run(
        found.made,
        lambda handle, _: diagnosis.verdict(handle, before, found.known),
        detach,
        replace,
        as_json,
        {"before": found.before, "known_map": found.known},
    )


def _run(
    made: "Prepared",
    judge: "Callable[[JobHandle, list[Finding]], Verdict]",
    detach: bool,
    replace: bool,
    as_json: bool,
    more: dict[str, object] | None = None,
) -> None:
    from launcher import api, health
    from launcher.cli import follow, outcome
    from launcher.errors import CliExit

    if detach:
        outcome.print_started(api.start(made, replace=replace), as_json)
        return
    end = follow.run(lambda: api.start(made, replace=replace), show=not as_json)
    handle = api.find(made.plan.name, made.plan.root.parent)
    outcome.raise_failure(end)
    found = judge(handle, health.of_run(handle.paths))
    if as_json:
        results = {**handle.results().to_json(), **(more or {})}
        echo_json({**results, "verdict": found.to_json()})
    else:
        outcome.show_results(handle, False, None, with_history=True)
        outcome.show_page(handle)
        for line in found.lines():
            typer.echo(line)
    if not found.passed:
        raise typer.Exit(int(CliExit.TARGET_MISSED))


def _above_zero(rate: float | None) -> float | None:
    if rate is not None and not 0 < rate < float("inf"):
        from launcher.errors import UsageError

        raise UsageError(f"{rate:g} is no learning rate", place="--rate", remedy="Use one above 0")
    return rate


def _say(line: str) -> None:
    """The evaluator's lines, but for the error that it ends with: the command tells that."""
    if " error: " not in line:
        typer.echo(line, err=True)
