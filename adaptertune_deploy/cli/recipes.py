"""The recipe that a command line and a YAML file ask for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from adaptertune_deploy.train.recipe import Recipe


def recipe_of(context: typer.Context, config: Path | None, **defaults: Any) -> Recipe:
    """Return the recipe of the options that were typed, above those of a file, above the defaults.

    Args:
        context: of the command; its options have the names of Recipe's fields.
        config: a YAML file; see train.recipe_file.
        defaults: of this command, where they are other ones than Recipe's.

    Raises:
        UsageError: a value that a recipe can't have, or a file that can't be read.
    """
    from adaptertune_deploy.train.recipe import Recipe, rank_fields

    fields = {field.name for field in dataclasses.fields(Recipe)}
    typed = {name: value for name, value in context.params.items() if name in fields and _is_typed(context, name)}
    if "rank" in typed:
        typed |= rank_fields(typed["rank"])
    read: dict[str, Any] = {}
    if config is not None:
        from adaptertune_deploy.train import recipe_file

        read = recipe_file.read(config)
    return Recipe(**{**defaults, **read, **typed})


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
