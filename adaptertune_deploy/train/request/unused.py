"""Settings that were asked for and that a training does not look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from adaptertune_deploy.train.request.recipe import FULL, OF_ADAPTERS, Recipe, method_fields
from adaptertune_deploy.train.request.request import TrainRequest

# A head alone is a probe: it has no steps and no seeds, and there is nothing to compare it with. What says how and
# where it is computed is never told of.
OF_HEADS = frozenset(
    {"rank", "search", "nested", "method", "ship", "class_weights", "seed", "precision", "device", "workers"}
)
NOT_OF_HEADS = frozenset(field.name for field in dataclasses.fields(Recipe)) - OF_HEADS


def unused(request: TrainRequest) -> tuple[str, ...]:
    """Return what to say of settings other than the usual ones that do nothing here; a file may have brought them.

    A search is silent: its rank may be 0, and nobody knows it before.
    """
    recipe = request.recipe
    if recipe.method == FULL:
        asked = _unusual(recipe, Recipe(**method_fields(FULL)), OF_ADAPTERS)
        return _said(asked, "full fine-tuning trains no adapters")
    if recipe.rank:
        return ()
    asked = _unusual(recipe, Recipe(), NOT_OF_HEADS)
    if request.log:
        asked.append(f"--log {','.join(request.log)}")
    return _said(asked, "the head alone is trained (rank 0)")


def _unusual(recipe: Recipe, usual: Recipe, names: Collection[str]) -> list[str]:
    found = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe) if field.name in names}
    return [f"--{name.replace('_', '-')} {value}" for name, value in found.items() if value != getattr(usual, name)]


def _said(asked: list[str], why: str) -> tuple[str, ...]:
    return (f"{why}: {', '.join(asked)} {'does' if len(asked) == 1 else 'do'} nothing",) if asked else ()
