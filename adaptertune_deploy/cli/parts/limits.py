"""The limits of a server as options and environment variables, made from the one place that declares them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any

import typer

from adaptertune_deploy.cli.parts.options import LIMITS
from adaptertune_deploy.serve.settings import COUNT, MEGABYTES, Settings, option, variable

TYPES: dict[str, Any] = {"int": int, "float": float, "int | None": int | None}


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
    """Return every limit as "--name value unit", or what holds otherwise, for people who ask which ones hold."""
    return [f"{option(limit.name)} {_words(settings, limit)}" for limit in fields(settings)]


def _words(settings: Settings, limit: Field[Any]) -> str:
    value, unit = getattr(settings, limit.name), limit.metadata["unit"]
    number = limit.metadata["otherwise"] if value is None else f"{value:g}" if isinstance(value, float) else value
    if unit == COUNT:
        return f"{number}"
    return f"{number} {unit if unit == MEGABYTES else unit.lower()}"


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
                    show_default=limit.metadata["otherwise"] or True,
                    envvar=variable(limit.name),
                    rich_help_panel=LIMITS,
                ),
            ],
        )
        for limit in fields(Settings)
    ]
