"""train.request.unused: what does nothing is said, and what was not asked for is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.train.request import recipe_file
from adaptertune_deploy.train.request.recipe import AUTO, Recipe, method_fields
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.request.unused import unused


def said(recipe: Recipe, **changes: Any) -> tuple[str, ...]:
    return unused(TrainRequest("digits", None, Path("adapters"), recipe, **changes))


def test_a_head_alone_passes_over_what_is_of_adapters_and_of_steps() -> None:
    (note,) = said(Recipe(rank=0, placement="last:2", views=3, dropout=0.2, seeds=3), log=("csv",))
    assert note == (
        "the head alone is trained (rank 0): --placement last:2, --seeds 3, --views 3, --dropout 0.2, --log csv do "
        "nothing"
    )
    assert said(Recipe(rank=0, lr=0.01)) == ("the head alone is trained (rank 0): --lr 0.01 does nothing",)


def test_full_fine_tuning_passes_over_what_is_of_adapters() -> None:
    (note,) = said(Recipe(**method_fields("full"), placement="last:2", alpha=3.0, epochs=2), log=("csv",))
    assert note == "full fine-tuning trains no adapters: --alpha 3.0, --placement last:2 do nothing"


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(rank=0),
        Recipe(rank=0, class_weights="none", ship="head", seed=3, precision="fp32", device="cpu", workers=0),
        Recipe(placement="last:2", views=3, seeds=3),
        Recipe(search=AUTO, placement="last:2", views=3),
        Recipe(**method_fields("full"), epochs=2, seeds=3),
    ],
)
def test_what_is_looked_at_or_usual_needs_no_word(recipe: Recipe, tmp_path: Path) -> None:
    assert said(recipe) == ()
    path = tmp_path / recipe_file.NAME  # names every setting
    path.write_bytes(recipe_file.dump(recipe))
    assert said(Recipe(**recipe_file.read(path))) == ()
