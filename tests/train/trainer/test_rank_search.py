"""A rank that is searched on the gate's folds, and is then trained on all images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from adaptertune_deploy.train.rank.search import Found
from adaptertune_deploy.train.request.recipe import AUTO, AUTO_FAST
from adaptertune_deploy.train.trainer import train_task
from tests.train.outcome.measured_values import make_gate, make_rank_choice
from tests.train.trainer.trainings import RECIPE, ask


def test_a_rank_is_searched_on_the_folds_of_the_gate(pictures: Path, tmp_path: Path, tiny: None) -> None:
    steps: list[str] = []
    request = ask(pictures, tmp_path, dataclasses.replace(RECIPE, search=AUTO))
    result = train_task(request, lambda what, *_: steps.append(what))
    choice = result.measured.rank
    assert choice is not None
    assert (choice.search, choice.folds, choice.rank) == (AUTO, 2, result.config.task.adapter.rank)
    tried = {one.rank for one in choice.tried}
    assert {0, 8, 32} <= tried
    assert {what.split(",")[0] for what in steps if what.startswith("rank ")} == {
        f"rank {rank}" for rank in tried - {0}
    }
    assert "fold 1 of 2" not in steps  # the rank that was picked was compared by the search
    assert (result.measured.adapter is None) == (choice.rank == 0)
    again = train_task(request).measured.rank
    assert again is not None
    untimed = {"seconds": 0.0, "instead": 0.0}
    assert dataclasses.replace(again, **untimed) == dataclasses.replace(choice, **untimed)


@pytest.mark.parametrize(("search", "folds"), [(AUTO, 2), (AUTO_FAST, 1)])
@pytest.mark.parametrize("picked", [0, 2])
def test_the_picked_rank_is_trained_on_all_images(
    search: str, folds: int, picked: int, pictures: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def found(run: Any, frozen: Any, probe: Any, fold: np.ndarray, seed: int) -> Found:
        asked.append(int(fold.max()) + 1)
        return Found(make_rank_choice(picked, 8, picked=picked, search=search), make_gate(0.1, 0.02, folds=folds))

    monkeypatch.setattr(trainer, "search_rank", found)
    steps: list[str] = []
    request = ask(pictures, tmp_path, dataclasses.replace(RECIPE, search=search))
    result = train_task(request, lambda what, *_: steps.append(what))
    assert asked == [folds]
    assert ("all images" in steps) == (picked > 0)
    assert result.config.task.adapter.rank == picked
    assert result.config.ships == (ADAPTER if picked else HEAD)
    assert (result.config.recipe.folds if result.config.recipe else None) == (folds if picked else None)


def test_a_search_for_an_adapter_that_is_to_ship_ends_in_one(pictures: Path, tmp_path: Path, tiny: None) -> None:
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, search=AUTO, ship=ADAPTER)))
    choice = result.measured.rank
    assert choice is not None
    assert choice.rank == choice.alike[0] == result.config.task.adapter.rank > 0
    assert (result.config.ships, result.measured.chosen_by) == (ADAPTER, "user")
