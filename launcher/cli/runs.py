"""Commands about runs: submit, status, logs, cancel, delete, list, evaluate."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from launcher.cli.options import (
    Address,
    AsJson,
    BackendName,
    Overrides,
    RunDir,
    RunDirOfSpec,
    RunName,
    SpecFile,
    echo_json,
    load,
)

if TYPE_CHECKING:
    from launcher.api import Prepared
    from launcher.backends.base import JobHandle, RunStatus


def add_to(app: typer.Typer) -> None:
    app.command(cls=_Submit)(submit)
    for command in (status, logs, cancel, delete, evaluate):
        app.command()(command)
    app.command("list")(list_runs)


class _Submit(TyperCommand):
    """--dry-run alone, or as kubectl's: --dry-run=server. An option with an optional value would
    take the SPEC after it for one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spelled = {"--dry-run=server": "--dry-run-server", "--dry-run=client": "--dry-run"}
        for arg in args:
            option, given, value = arg.partition("=")
            if option == "--dry-run" and given and arg not in spelled:
                text = f"{value!r} must be server or client"
                raise typer.BadParameter(text, ctx=ctx, param_hint="'--dry-run'")
        return super().parse_args(ctx, [spelled.get(arg, arg) for arg in args])


def submit(
    spec: SpecFile,
    overrides: Overrides = None,
    backend: BackendName = None,
    address: Address = None,
    run_dir: RunDirOfSpec = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return when it has started; it goes on.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for its end without a progress line.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue an ended run of this name; a new one where there is none."
        ),
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete an ended run of this name first.")
    ] = False,
    allow_change: Annotated[
        bool,
        typer.Option(
            "--allow-change",
            help="With --resume: with another spec, where that does not change what is trained.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start in spite of errors of `launcher check`.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Print what would be started; start nothing. --dry-run=server: as the cluster's "
            "API server would take it; =client, the default: without asking it.",
        ),
    ] = False,
    dry_run_server: Annotated[bool, typer.Option("--dry-run-server", hidden=True)] = False,
    as_json: AsJson = False,
) -> None:
    """Train and score a spec. Ctrl-C saves a checkpoint and stops everything.

    It is checked first, as by `launcher check`: an error stops it (exit code 3).

    \b
    Examples:
      launcher submit demo.yaml                 # follow it to its end
      launcher submit d3.yaml --detach          # then: launcher status d3
      launcher submit d3.yaml --resume          # continue from the last checkpoint
      launcher submit d3.yaml --dry-run         # the processes, and nothing else
      launcher submit d3.yaml --backend ray --address http://10.0.0.5:8265
    """
    from launcher import api
    from launcher.cli import follow, outcome
    from launcher.cli.specs import echo_request
    from launcher.errors import UsageError

    if detach and wait:
        raise UsageError("--detach and --wait exclude each other", remedy="Give one of them")
    if allow_change and not resume:
        raise UsageError("--allow-change is for --resume", remedy="Give both, or none")
    job = load(spec, overrides, backend, run_dir, address)
    if dry_run or dry_run_server:
        echo_request(api.dry_run(job, server=dry_run_server), as_json)
        return
    made = api.prepare(job, resume=resume, replace=replace, allow_change=allow_change, force=force)
    for warning in _warnings(made):
        typer.echo(f"warning: {warning}", err=True)
    if detach:
        handle = api.start(made, resume=resume, replace=replace)
        outcome.print_started(handle, as_json)
        return
    end = follow.run(
        lambda: api.start(made, resume=resume, replace=replace), show=not (wait or as_json)
    )
    handle = api.find(made.plan.name, made.plan.root.parent)
    outcome.finish(handle, end, as_json)


def _warnings(made: "Prepared") -> list[str]:
    """One line each; those of the plan where the preflight did not look."""
    if made.report is None:
        return [*made.notes, *made.plan.warnings]
    forced = [f"{f.name}: {f.evidence} (an error: --force)" for f in made.report.errors]
    found = [f"{f.name}: {f.evidence}" for f in made.report.warnings]
    return [*made.notes, *forced, *found]


def status(name: RunName, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Say how far a run is, or why it ended.

    Exit code 1 when it failed.

    \b
    Examples:
      launcher status d3
      launcher status d3 --json | jq -r .state
    """
    from launcher import api, health
    from launcher.cli.texts import losses_json, starting_weights, status_lines
    from launcher.contract import RunPaths, State

    now = api.find(name, run_dir).status()
    findings = health.of_run(RunPaths(now.root))
    if as_json:
        more = {"findings": [f.to_json() for f in findings], **losses_json(now)}
        echo_json({**now.to_json(), "fine_tune": starting_weights(now), **more})
    else:
        for line in status_lines(now, findings):
            typer.echo(line)
    if now.state is State.FAILED:
        raise typer.Exit(1)


def logs(
    name: RunName,
    who: Annotated[
        str,
        typer.Argument(metavar="[WHO]", help="worker, worker-1, evaluator, supervisor, or all."),
    ] = "worker",
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the run has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(metavar="K", help="Only this start of the group, from 0.")
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only the lines that match.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Only the last N lines of each.")
    ] = None,
    run_dir: RunDir = None,
) -> None:
    """Print what the processes of a run wrote.

    \b
    Examples:
      launcher logs d3 -f
      launcher logs d3 evaluator --grep mAP
      launcher logs d3 worker-1 --attempt 0 --tail 50
    """
    from launcher import api
    from launcher.cli import logs as reader

    reader.show(api.find(name, run_dir), who, follow, attempt, grep, tail)


def cancel(name: RunName, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Save a checkpoint and stop a run. Does nothing to one that has ended.

    \b
    Example:
      launcher cancel d3        # launcher submit d3.yaml --resume continues it
    """
    from launcher import api

    handle = api.find(name, run_dir)
    was_running = not handle.status().state.ended
    if was_running and not as_json:
        typer.echo(f"{name}: stopping; the workers save a checkpoint first", err=True)
    now = handle.cancel()
    if as_json:
        echo_json(now.to_json())
    elif was_running:
        typer.echo(f"{name}: {now.state} at step {now.step:,} of {now.total_steps:,}")
    else:
        typer.echo(f"{name} has already ended: {now.state}")


def delete(name: RunName, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Remove a run that has ended, checkpoints and all.

    \b
    Example:
      launcher delete d3
    """
    from launcher import api

    root = api.delete(name, run_dir)
    if as_json:
        echo_json({"name": name, "deleted": root is not None, "root": str(root) if root else None})
    elif root is None:
        typer.echo(f"{name}: there is no such run, nothing to delete")
    else:
        typer.echo(f"{name}: deleted {root}")


def list_runs(
    run_dir: RunDir = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME", help="All runs of a cluster: kubernetes."),
    ] = None,
    context: Annotated[
        str, typer.Option("--context", metavar="NAME", help="With --backend: of the kubeconfig.")
    ] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", metavar="NAME", help="With --backend.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List all runs.

    Those below ./runs, and those that this account submitted. With --backend kubernetes those of a
    namespace, whoever submitted or applied them: status, logs and the others find them by name from
    then on.

    \b
    Examples:
      launcher list --json | jq -r '.[] | select(.state == "RUNNING") | .name'
      launcher list --backend kubernetes -n vision
    """
    from launcher import api
    from launcher.cli.texts import list_cells
    from launcher.errors import UsageError
    from launcher.report.table import columns

    if backend is not None:
        found = api.cluster_runs(backend, context, namespace)
    elif context or namespace:
        raise UsageError(
            "--context and --namespace are of a cluster", remedy="Add --backend kubernetes"
        )
    else:
        found = _statuses(api.runs(run_dir))
    if as_json:
        echo_json([now.to_json() for now in found])
        return
    if not found:
        typer.echo("no runs", err=True)
        return
    header = ["name", "state", "step", "mAP", "folder"]
    for line in columns([header, *map(list_cells, found)]):
        typer.echo(line)


def _statuses(handles: "list[JobHandle]") -> "list[RunStatus]":
    """One whose cluster does not answer, or has deleted it, does not hide the others."""
    from launcher.errors import LauncherError

    found = []
    for handle in handles:
        try:
            found.append(handle.status())
        except LauncherError as e:
            typer.echo(f"warning: {handle.name} is not listed: {e}", err=True)
    return found


def evaluate(
    name: RunName,
    run_dir: RunDir = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME", help="The run's own, which is the default."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Score the newest checkpoint of a run that has ended.

    Where it ran: on this machine, or as a job of its cluster. The newest that can be read is
    taken, once more if it has a score, and its numbers are pycocotools'.

    \b
    Example:
      launcher evaluate d3      # after its evaluator had failed
    """
    from launcher import api
    from launcher.cli import outcome

    handle = api.evaluate(name, run_dir, backend)
    outcome.show_results(handle, as_json)
    outcome.raise_miss(handle)
