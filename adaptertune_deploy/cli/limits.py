"""The limits of a server as options and environment variables, made from the one place that declares them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any

import typer

from adaptertune_deploy.cli.options import LIMITS
from adaptertune_deploy.serve.settings import COUNT, Settings, option, variable

TYPES: dict[str, type] = {"int": int, "float": float}


def with_limits(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option and an environment variable for every limit.

    The command's parameter `bounds` gets them as one Settings; everything else stays as it is.

    Raises:
        UsageError: when the command is run with an impossible limit.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "bounds"]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        limits = {limit.name: given.pop(limit.name) for limit in fields(Settings)}
        command(**given, bounds=Settings(**limits))

    parameters = [*own, *_parameters()]
    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del run.__wrapped__
    return run


def lines(settings: Settings) -> list[str]:
    """Return every limit as "--name value unit", for people who ask which ones hold."""
    units = {limit.name: limit.metadata["unit"] for limit in fields(settings)}
    words = {name: "" if unit == COUNT else f" {unit.lower()}" for name, unit in units.items()}
    return [f"{option(name)} {_number(settings, name)}{word}" for name, word in words.items()]


def _number(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _parameters() -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            limit.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=limit.default,
            annotation=Annotated[
                TYPES[str(limit.type)],
                typer.Option(
                    option(limit.name),
                    metavar=limit.metadata["unit"],
                    help=limit.metadata["text"],
                    envvar=variable(limit.name),
                    rich_help_panel=LIMITS,
                ),
            ],
        )
        for limit in fields(Settings)
    ]
