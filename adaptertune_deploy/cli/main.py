"""The command atd: every command is one file that imports its work only when it runs."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Annotated

import typer

import adaptertune_deploy
from adaptertune_deploy.cli import (
    add,
    bench,
    data,
    doctor,
    evaluate,
    export,
    inspect,
    predict,
    remove,
    serve,
    sweep,
    train,
    tune,
    upgrade,
)
from adaptertune_deploy.cli import list as listing
from adaptertune_deploy.cli.quickstart import command as quickstart
from adaptertune_deploy.cli.terminal import console, errors, interrupts
from adaptertune_deploy.cli.terminal.help import Command, Program
from adaptertune_deploy.core import openmp
from adaptertune_deploy.core.errors import AtdError, Interrupted
from adaptertune_deploy.core.extras import extras_of

NAME = "atd"
NO_THREADS = "can't start new thread"  # what Python says
HELP = f"""One frozen vision backbone, many tasks.

\b
atd quickstart                       the whole path on small data, {quickstart.DURATION}
atd train --dataset pets --rank 8    adapters and a head -> adapters/pets/
atd export                           ONNX, verified      -> bundle/
atd serve --adapters pets,flowers    answers over HTTP
"""

app = typer.Typer(
    cls=Program, help=HELP, invoke_without_command=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
app.command("quickstart", cls=Command)(quickstart.quickstart)
app.command("train", cls=Command)(train.train)
app.command("sweep", cls=Command)(sweep.sweep)
app.command("evaluate", cls=Command)(evaluate.evaluate)
app.command("export", cls=Command)(export.export)
app.command("add", cls=Command)(add.add)
app.command("remove", cls=Command)(remove.remove)
app.command("list", cls=Command)(listing.list_tasks)
app.command("inspect", cls=Command)(inspect.inspect)
app.command("upgrade", cls=Command)(upgrade.upgrade)
app.command("predict", cls=Command)(predict.predict)
app.command("serve", cls=Command)(serve.serve)
app.command("bench", cls=Command)(bench.bench)
app.command("tune", cls=Command)(tune.tune)
app.command("doctor", cls=Command)(doctor.doctor)
app.add_typer(data.app, name="data")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"{NAME} {adaptertune_deploy.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options that every command shares; without a command, show what there is."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)


def run() -> None:
    """Run the command line; a user's mistake is one line and an exit code, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what the terminal's encoding lacks is escaped, not an error
            with contextlib.suppress(OSError, ValueError):  # it is closed
                stream.reconfigure(errors="backslashreplace")
    openmp.wait_briefly(os.environ)
    with interrupts.signals_raise():
        code = _run()
        console.drop_unwritten()
        sys.exit(code)


def _run() -> int:
    """Return the exit code: 0, 1 for a failure, 2 for wrong usage, 128 + a signal's number."""
    try:
        with interrupts.stoppable(lambda: "nothing was done"):  # before a command began; in it, it says what was kept
            code = app(prog_name=NAME, standalone_mode=False)
    except errors.UsageProblem as problem:
        console.print_error(errors.explain(problem, sys.argv[1:]))
        return 2
    except Interrupted as interrupt:
        console.print_stopped(str(interrupt))
        return interrupt.exit_code
    except AtdError as error:
        console.print_error(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:
        console.print_error(_missing(error))
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        console.print_error(f"{place}{error.strerror or error}; check the disk and the folder's permissions")
        return 1
    except typer.Abort:  # click's word for the end of an input, too
        console.print_stopped("stopped; nothing was done")
        return 130
    except RuntimeError as error:
        if str(error) != NO_THREADS:
            raise
        console.print_error("the system lets this process start no more threads; see ulimit -u, and what else runs")
        return 1
    return code if isinstance(code, int) else 0


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a library that a command needs and this environment lacks."""
    extras = extras_of(sys.argv[1:])
    command = next((word for word in sys.argv[1:] if extras_of([word])), NAME)
    needed = ",".join(extras) or "cpu"
    return f"{command} needs {error.name}, which is not installed; pip install 'adaptertune-deploy[{needed}]'"
