"""`launcher`: the commands, and the one place where errors become messages and exit codes."""

import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from launcher.cli import check, dashboard, data, diagnose, results, runs, specs, streams, weights
from launcher.errors import CliExit, LauncherError

_HELP = """Train TensorFlow Object Detection API models at their published recipe.

\b
  launcher init efficientdet_d3 > d3.yaml   a job spec at the published recipe
  launcher check d3.yaml                    what would keep it from its mAP
  launcher plan d3.yaml                     batch, learning rate, steps, and why
  launcher submit d3.yaml                   train and score it
  launcher status|logs|results efficientdet-d3   how far it is, whether it reached its target
  launcher overfit d3.yaml                  can it learn sixteen images by heart?
  launcher compare d3 d3-group-norm         what differs between runs, and what came out
  launcher export efficientdet-d3           the trained model as a SavedModel

\b
Exit codes: 0 success, 1 the run failed, 2 usage or invalid spec, 3 check found errors,
4 target mAP missed, 5 backend unreachable, 130 interrupted.
"""

# Plain help: rich's would triple the time that `launcher --help` takes.
app = typer.Typer(
    name="launcher",
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

# click's ClickException: typer carries its own copy of click, and gives it no public name.
_CliError: type[Exception] = typer.BadParameter.__mro__[2]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"launcher {version('launcher')}")
        raise typer.Exit


@app.callback()
def launcher(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


specs.add_to(app)
check.add_to(app)
runs.add_to(app)
dashboard.add_to(app)
results.add_to(app)
diagnose.add_to(app)
weights.add_to(app)
app.add_typer(data.app, name="data")


def run(args: Sequence[str]) -> int:
    """The exit code of a command line. Bugs keep their traceback; a user's mistake has none."""
    try:
        code = app(list(args), prog_name="launcher", standalone_mode=False)
        sys.stdout.flush()
    except LauncherError as e:
        for problem in e.problems:
            say_error(str(problem))
        return int(e.cli_exit)
    except _CliError as e:
        return _usage(e, args)
    except (typer.Abort, KeyboardInterrupt):
        return int(CliExit.INTERRUPTED)
    except streams.ReaderGoneError:
        return int(CliExit.SUCCESS)
    except OSError as e:
        if e.errno == errno.ENOENT and _folder_is_gone():
            say_error("the current folder is gone. Change to one that is there, as with cd")
            return int(CliExit.USAGE)
        if e.errno != errno.ENOSPC:  # all that a command writes elsewhere is a StorageError
            raise
        say_error(f"cannot write the output ({e.strerror})")
        streams.to_nowhere(sys.stdout.fileno())  # the interpreter flushes it once more
        return int(CliExit.RUN_FAILED)
    return code if isinstance(code, int) else int(CliExit.SUCCESS)


def say_error(text: str) -> None:
    """One line, whatever is in the text."""
    typer.echo(f"error: {' '.join(text.split())}", err=True)


def main() -> None:
    streams.prepare()
    sys.exit(run(sys.argv[1:]))


def _usage(error: Exception, args: Sequence[str]) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, typer.BadParameter):
        error.message = _number_text(error.__cause__) or error.message
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
        typer.echo(message, err=True)
        return int(CliExit.USAGE)
    command = context.command_path if context else _command_path(args)
    stop = "" if message.endswith((".", "?", "!")) else "."
    say_error(f"{message}{stop} See `{command} --help`")
    return int(CliExit.USAGE)


def _command_path(args: Sequence[str]) -> str:
    """`launcher data convert`: an option that is spelled wrong in itself has no context."""
    command: Any = typer.main.get_command(app)
    path = ["launcher"]
    for arg in args:
        command = getattr(command, "commands", {}).get(arg)
        if command is None:
            break
        path.append(arg)
    return " ".join(path)


def _number_text(cause: BaseException | None) -> str:
    """Of a number that pydantic, which typer asks, does not take: the value, and what to write.
    Empty for anything else."""
    found: list[Any] = getattr(cause, "errors", list)()
    if not found:
        return ""
    kind, value, limits = found[0]["type"], found[0]["input"], found[0].get("ctx", {})
    if kind.startswith("int_"):
        return f"{value!r} is no whole number: use one, as 8"
    if kind.startswith("float_"):
        return f"{value!r} is no number: use one, as 24"
    if kind == "greater_than_equal":
        return f"{value} is too low: use {limits['ge']:g} or more"
    if kind == "less_than_equal":
        return f"{value} is too high: use {limits['le']:g} or less"
    return ""


def _folder_is_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
