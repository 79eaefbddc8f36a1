"""How a command about a run ends: what it prints, and the error that its exit code comes from."""

import contextlib
from typing import TYPE_CHECKING

import typer

from launcher.cli.options import echo_json
from launcher.contract import State
from launcher.errors import RunFailedError, StorageError, TargetMissedError
from launcher.report.table import history, nearest_path, summary

if TYPE_CHECKING:
    from launcher.backends.base import JobHandle, RunStatus
    from launcher.report.record import RunRecord


def print_started(handle: "JobHandle", as_json: bool) -> None:
    name = handle.name
    if as_json:
        echo_json(handle.status().to_json())
        return
    typer.echo(f"{name} is started in {handle.root}")
    typer.echo(f"  launcher status {name}     how far it is")
    typer.echo(f"  launcher logs -f {name}    what it says")
    typer.echo(f"  launcher results {name}    its mAP")
    typer.echo(f"  launcher cancel {name}     save a checkpoint and stop")


def show_results(
    handle: "JobHandle", as_json: bool, seconds: float | None = None, with_history: bool = False
) -> None:
    from launcher import health

    found, findings = handle.results(), health.of_run(handle.paths)
    if as_json:
        echo_json({**found.to_json(), "findings": [f.to_json() for f in findings]})
        return
    for line in summary(found, handle.paths, seconds, findings):
        typer.echo(line)
    for line in history(found) if with_history else ():
        typer.echo(line)
    if handle.elsewhere:
        typer.echo(f"  {'note':<8} {handle.elsewhere}")


def finish(handle: "JobHandle", end: "RunStatus", as_json: bool) -> None:
    """Print the results of a run that has just ended; raises what its exit code is."""
    seconds = end.updated - end.submitted if end.updated and end.submitted else None
    show_results(handle, as_json, seconds)
    if not as_json:
        show_page(handle)
    raise_failure(end)
    raise_miss(handle)


def show_page(handle: "JobHandle") -> None:
    """Write the page of a run and say where it is; a full disk does not hide the results."""
    from launcher.report import page

    with contextlib.suppress(StorageError):
        typer.echo(f"  {'page':<8} {nearest_path(page.write(record_of(handle)))}")


def record_of(handle: "JobHandle") -> "RunRecord":
    """All that the run has written down, with what it shows of its health."""
    from launcher import health
    from launcher.report.record import read_record

    now, findings = handle.status(), health.of_run(handle.paths)
    return read_record(handle.paths, handle.name, now.state, now.message, findings)


def raise_failure(status: "RunStatus") -> None:
    """RunFailedError for a run that has ended, but not by itself or not well."""
    if status.state is State.FAILED:
        raise RunFailedError(f"FAILED ({status.reason}): {status.message}", place=status.name)
    if status.state is State.CANCELLED:
        raise RunFailedError(
            f"was cancelled at step {status.step} of {status.total_steps}",
            place=status.name,
            remedy="`launcher submit SPEC --resume` continues it",
        )


def raise_miss(handle: "JobHandle") -> None:
    """TargetMissedError when the last step is scored, and below the target."""
    from launcher.report.numbers import points

    found = handle.results()
    if found.target_met is False and found.final is not None:
        raise TargetMissedError(
            f"mAP {points(found.final['mAP'])} is below the target {found.target_map:g} "
            f"minus tolerance {found.tolerance:g} (COCO points)",
            place=handle.name,
            remedy=f"`launcher plan` on {handle.paths.spec} shows what differs from the recipe",
        )
