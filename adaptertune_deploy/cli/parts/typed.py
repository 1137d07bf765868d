"""What was typed on a command line, apart from what defaults put in its place."""

from __future__ import annotations

from collections.abc import Collection

import typer


def is_typed(context: typer.Context, name: str) -> bool:
    """Return whether a parameter of a command was given, on the command line or by a variable of the environment."""
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


def carried(context: typer.Context, names: Collection[str]) -> dict[str, object]:
    """Return the options that were typed and that another command takes too: "--option" -> value, in their order.

    Also a default that was typed: it may overrule a file.

    Args:
        context: of the command that was typed.
        names: parameters of the other command.
    """
    return {
        option.opts[0]: context.params[option.name]
        for option in context.command.params
        if option.name is not None and option.name in names and is_typed(context, option.name)
    }
