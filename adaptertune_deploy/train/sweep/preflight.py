"""Everything about a sweep that can be refused or should be said before torch is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.destination import check_place
from adaptertune_deploy.train.request.preflight import check_train
from adaptertune_deploy.train.request.recipe import AUTO, FEWEST_NESTED, FULL, GIVEN, Recipe, method_fields
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.sweep.ranks import check_ranks


def check_sweep(request: TrainRequest, ranks: Sequence[int], nested: bool, full: bool) -> tuple[str, ...]:
    """Return what a person should read before any work: see train.request.preflight.check_train.

    Args:
        request: what to train.
        ranks: see sweep_ranks, as the others.
        nested: see there.
        full: see there.

    Raises:
        DatasetError, BackboneError, UsageError: see check_train, swept_recipe.
    """
    recipe = swept_recipe(request.recipe, check_ranks(ranks), nested, full)
    return check_train(replace(request, recipe=recipe), check_results)


def swept_recipe(recipe: Recipe, ranks: Sequence[int], nested: bool, full: bool) -> Recipe:
    """Return the recipe of a sweep's largest rank.

    Args:
        recipe: as it was asked for; its rank and what ships do not matter.
        ranks: ascending.
        nested: see sweep_ranks.
        full: see there.

    Raises:
        UsageError: what can't be swept.
    """
    if recipe.method == FULL:
        raise UsageError(
            "method: full: a sweep compares ranks of adapters; leave it out of the --config file, --full adds a row of "
            "full fine-tuning"
        )
    if nested and ranks[-1] < FEWEST_NESTED:
        raise UsageError(f"--nested: needs a rank of {FEWEST_NESTED} or more in --ranks")
    found = replace(recipe, rank=ranks[-1], search=GIVEN, nested=False, ship=AUTO)
    if full:
        try:
            replace(found, **method_fields(FULL))
        except UsageError as error:
            raise UsageError(f"--full: {error}") from None
    return found


def result_files(out: Path, task: str) -> tuple[Path, Path]:
    """Return the files of a sweep: what was measured, and its picture."""
    return out / f"{task}.json", out / f"{task}.png"


def check_results(out: Path, task: str, dataset: Path | None = None) -> tuple[str, ...]:
    """Refuse a place that can't be written, and say which files will be replaced there.

    Args:
        out: folder of the results.
        task: see result_files.
        dataset: the folder of images that will be read, where it is one.

    Raises:
        UsageError: see train.request.destination.check_place; something else lies where a result goes.
    """
    check_place(out, dataset)
    there = [path for path in result_files(out, task) if path.exists()]
    for path in there:
        if not path.is_file():
            raise UsageError(f"{path} exists and is no file; move it away, or choose another --task or --out")
    if not there:
        return ()
    names = " and ".join(map(str, there))
    return (f"{names} will be replaced; to keep {'it' if len(there) == 1 else 'them'}: --task NAME, or --out FOLDER",)
