"""The command atd: every command is one file that imports its work only when it runs."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import adaptertune_deploy
from adaptertune_deploy.cli import add, console, evaluate, export, predict, quickstart, serve, train
from adaptertune_deploy.core.errors import AtdError

HELP = """One frozen vision backbone, many tasks.

\b
  atd quickstart                          the whole path on small data, in three minutes
  atd train --dataset pets --rank 8       adapters and a head       -> adapters/pets/
  atd export                              ONNX, verified            -> bundle/
  atd serve --adapters pets,flowers       answers over HTTP
"""

app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)
app.command("quickstart")(quickstart.quickstart)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("export")(export.export)
app.command("add")(add.add)
app.command("predict")(predict.predict)
app.command("serve")(serve.serve)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"atd {adaptertune_deploy.__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Hold the options that every command shares."""


def run() -> None:
    """Run the command line; a user's mistake is one line and an exit code, never a traceback."""
    try:
        app()
    except AtdError as error:
        console.print_error(str(error))
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        console.print_error(_missing(error))
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        console.print_error(f"{place}{error.strerror or error}; check the disk and the folder's permissions")
        sys.exit(1)
    except KeyboardInterrupt:
        console.print_error("stopped")
        sys.exit(130)


# command -> the extra of the package that it needs
EXTRAS = {"train": "train", "evaluate": "train", "export": "export", "quickstart": "cpu,train,export"}


def _missing(error: ModuleNotFoundError) -> str:
    """Say which extra brings a library that a command needs and this environment lacks."""
    command = next((word for word in sys.argv[1:] if word in EXTRAS), "")
    extra = EXTRAS.get(command, "cpu")
    return f"{command or 'atd'} needs {error.name}, which is not installed; pip install 'adaptertune-deploy[{extra}]'"
