"""The recipe that a command line and a YAML file ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from adaptertune_deploy.cli.parts.typed import is_typed
from adaptertune_deploy.core.errors import UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.train.request.recipe import Recipe


def recipe_of(context: typer.Context, config: Path | None, **defaults: Any) -> Recipe:
    """Return the recipe of the options that were typed, above those of a file, above the defaults.

    Args:
        context: of the command; its options have the names of Recipe's fields.
        config: a YAML file; see train.request.recipe_file.
        defaults: of this command, where they are other ones than Recipe's.

    Raises:
        UsageError: a value that a recipe can't have, or a file that can't be read.
    """
    from adaptertune_deploy.train.request.recipe import ADAPTER, FULL, HEAD, Recipe, method_fields, rank_fields

    fields = {field.name for field in dataclasses.fields(Recipe)}
    typed = {name: value for name, value in context.params.items() if name in fields and is_typed(context, name)}
    method = typed.get("method")
    if method is not None:
        _check_method(typed)
        typed = method_fields(method) | typed | {"method": FULL if method == FULL else ADAPTER}
    if "rank" in typed and isinstance(typed["rank"], str):
        typed |= rank_fields(typed["rank"])
    read: dict[str, Any] = {}
    if config is not None:
        from adaptertune_deploy.train.request import recipe_file

        read = recipe_file.read(config)
        if method in (ADAPTER, HEAD) and read.get("method") == FULL:
            reason = f"{config} is of full fine-tuning, whose settings suit nothing else"
            raise UsageError(f"--method: {reason}; leave one out")
        if method == ADAPTER and read.get("rank") == 0:  # the file is of a head alone
            read = {name: value for name, value in read.items() if name not in rank_fields("0")}
    return Recipe(**{**defaults, **read, **typed})


def _check_method(typed: Mapping[str, Any]) -> None:
    """Refuse options that the --method beside them has no use for."""
    from adaptertune_deploy.train.request.recipe import FULL, HEAD, OF_ADAPTERS

    method = typed["method"]
    if method in (HEAD, FULL) and "rank" in typed:
        both = f"--method {method} and --rank {typed['rank']}"
        raise UsageError(f"{both}: only adapters have a rank; leave one of them out")
    idle = [f"--{name} {typed[name]}" for name in OF_ADAPTERS if name in typed] if method == FULL else []
    if idle:
        raise UsageError(f"{', '.join(idle)}: of adapters, and --method full trains none; leave one out")
