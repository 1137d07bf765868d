"""Options that choose the engine which runs a graph, for every command that runs one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts.options import ENGINE, value
from adaptertune_deploy.cli.terminal import completion
from adaptertune_deploy.cli.terminal.engine_settings import SETTING
from adaptertune_deploy.core import precision as precisions
from adaptertune_deploy.core.errors import AtdError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adaptertune_deploy.engines.options import EngineOptions

PRECISIONS = tuple(precision.value for precision in precisions.Precision)

Engine = Annotated[
    str, value("--engine", "NAME", ENGINE, "What runs the graphs: see below.", complete=completion.engines)
]
Device = Annotated[
    str,
    value(
        "--device",
        "NAME",
        ENGINE,
        "auto, cpu, cuda or cuda:N; a named one is never replaced.",
        complete=completion.devices,
    ),
]
Precision = Annotated[
    str,
    value(
        "--precision",
        "NAME",
        ENGINE,
        f"What to compute in, never replaced: {', '.join(PRECISIONS)}.",
        complete=completion.precisions,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-E",
        SETTING,
        metavar="NAME=VALUE",
        help="A setting of the engine's own, as often as there are some.",
        show_default=False,
        autocompletion=completion.engine_settings,
        rich_help_panel=ENGINE,
    ),
]


def asked(
    engine: str, device: str, settings: Sequence[str] | None = None, precision: str = "fp32", threads: int = 0
) -> EngineOptions:
    """Return what a command line asks of an engine, after checking it, before anything is read.

    Raises:
        UsageError: an unknown engine, device, precision or setting, or a negative number of threads.
        EngineError: something that this installation lacks.
    """
    from adaptertune_deploy.engines.opening import check_options
    from adaptertune_deploy.engines.options import EngineOptions, split_settings
    from adaptertune_deploy.engines.table import entry_of

    check_precision(precision)
    try:
        entry_of(engine)
    except UsageError as error:
        raise UsageError(f"--engine: {error}") from None
    options = EngineOptions(engine, device, precisions.Precision(precision), threads, split_settings(settings or ()))
    try:
        check_options(options)
    except AtdError as error:
        named = "" if str(error).startswith("-E ") else f"--engine {engine} --device {device}: "
        raise type(error)(f"{named}{error}") from None
    return options


def for_instances(options: EngineOptions, instances: int | None, threads_typed: bool) -> EngineOptions:
    """Return options for runs at the same time; a number of threads that nobody typed is one run's alone.

    Where nobody said how many runs (None), the server finds it, and those beside others have a share of the threads.

    Raises:
        UsageError: see engines.instances.for_instances.
    """
    from adaptertune_deploy.bench.machine import describe_machine
    from adaptertune_deploy.engines import instances as at_once
    from adaptertune_deploy.serve.settings import FOUND_AT_ONCE

    if instances is None:
        return replace(options, at_once=FOUND_AT_ONCE)
    if instances == 1:
        return options
    options = options if threads_typed else replace(options, threads=0)
    return at_once.for_instances(options, instances, describe_machine().cores)


def precisions_named(names: str, option: str = "--precision") -> tuple[precisions.Precision, ...]:
    """Return the precisions of a comma-separated list.

    Args:
        names: as typed.
        option: which option it is of, for messages.

    Raises:
        UsageError: an unknown precision, none, or one twice.
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    for name in found:
        check_precision(name, option)
    if not found or len(set(found)) != len(found):
        raise UsageError(f"{option} {names:.60}: expected one or more of {', '.join(PRECISIONS)}, each once")
    return tuple(map(precisions.Precision, found))


def check_precision(name: str, option: str = "--precision") -> None:
    """Raise UsageError when there is no precision of that name."""
    if name not in PRECISIONS:
        near = did_you_mean(name, PRECISIONS)
        raise UsageError(f"{option}: no precision '{name:.60}', only {', '.join(PRECISIONS)}.{near}")


def can_verify(engine: str) -> bool:
    """Return False where the usual engine is meant and absent; of another one `asked` says what it lacks."""
    from adaptertune_deploy.engines.options import USUAL
    from adaptertune_deploy.engines.table import is_installed

    return engine != USUAL.engine or is_installed(engine)
