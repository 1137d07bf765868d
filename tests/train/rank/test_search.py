"""train.rank.search: ranks go through the gate's folds; what was picked, and what the gate says of it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.train.comparison.crossfit import cross_validate
from adaptertune_deploy.train.comparison.gate import compared_losses
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from adaptertune_deploy.train.probe.probe import Folds
from adaptertune_deploy.train.rank import rule
from adaptertune_deploy.train.rank import trials as trying
from adaptertune_deploy.train.rank.search import most_tried, search_rank
from adaptertune_deploy.train.request.recipe import AUTO, AUTO_FAST, Recipe
from adaptertune_deploy.train.run import Run
from tests.train.comparison.test_crossfit import freeze
from tests.train.points import make_folds
from tests.train.runs import RECIPE, make_run, make_striped_dataset


def searching_run(search: str = AUTO, per_class: int = 10) -> Run:
    recipe = Recipe(**{**vars(RECIPE), "search": search, "rank": 8})
    return make_run(make_striped_dataset([per_class] * 3), recipe=recipe)


def plant(monkeypatch: pytest.MonkeyPatch, enough: int) -> list[tuple[int, str]]:
    """Let adapters of rank `enough` and more answer rightly, smaller ones worse the smaller they are."""
    asked: list[tuple[int, str]] = []

    def answers(run: Run, frozen: Any, probe: Any, fold: Folds, seed: int, what: str = "") -> Any:
        rank = run.task.adapter.rank
        if what:
            asked.append((rank, what))
        right = np.eye(3, dtype=np.float32)[frozen.targets]
        noise = np.random.default_rng(rank).standard_normal(right.shape).astype(np.float32)
        wrong = max(0.0, float(np.log2(enough / rank)))
        return 6 * right + (0.05 + 4 * wrong) * noise

    monkeypatch.setattr(trying, "adapter_answers", answers)
    monkeypatch.setattr(trying, "head_answers", lambda run, frozen, *_: answers(run.with_rank(1), frozen, None, 0, 0))
    return asked


@pytest.mark.parametrize(("enough", "tried"), [(8, [8, 32, 2, 4]), (32, [8, 32, 16, 64]), (2, [8, 32, 2, 1])])
def test_the_planted_rank_is_picked(enough: int, tried: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    run = searching_run(per_class=30)
    asked = plant(monkeypatch, enough)
    found = search_rank(run, *freeze(run), make_folds(90, 2), 0)
    assert [rank for rank, _ in asked] == tried
    assert [what for _, what in asked] == [f"rank {rank}, " for rank in tried]
    assert found.choice.rank == enough
    assert [one.rank for one in found.choice.tried] == sorted([0, *tried])
    assert found.choice.alike[0] == enough
    assert (found.choice.search, found.choice.folds, found.choice.images) == (AUTO, 2, 90)
    assert found.gate.ships == ADAPTER


@pytest.mark.parametrize(("search", "folds", "most"), [(AUTO, 1, 4), (AUTO, 2, 4), (AUTO, 3, 3), (AUTO_FAST, 1, 3)])
def test_the_time_is_bounded_by_the_ranks_that_are_tried(
    search: str, folds: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = searching_run(search, per_class=30)
    asked = plant(monkeypatch, 4)
    fold = make_folds(90, max(2, folds))
    if folds == 1:
        fold[fold == 1] = -1
    search_rank(run, *freeze(run), fold, 0)
    assert len(asked) == most


@pytest.mark.parametrize(
    ("search", "folds", "images", "most"),
    [
        (AUTO, 1, 5_000, 4),
        (AUTO, 5, 400, 3),
        (AUTO_FAST, 1, 400, 3),
        (AUTO_FAST, 1, 2_999, 3),
        (AUTO_FAST, 1, 3_000, 2),
    ],
)
def test_a_fast_search_tries_less_where_a_given_rank_costs_less(
    search: str, folds: int, images: int, most: int
) -> None:
    assert most_tried(search, folds, images) == most


def plant_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let adapters of every rank know nothing of the images."""
    monkeypatch.setattr(
        trying,
        "adapter_answers",
        lambda run, frozen, *_: np.zeros((90, 3), np.float32) + run.task.adapter.rank * 1e-3 * np.arange(3),
    )


def test_where_no_rank_helps_the_head_alone_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    run = searching_run(per_class=30)
    frozen, probe = freeze(run)
    plant_nothing(monkeypatch)
    found = search_rank(run, frozen, probe, make_folds(90, 2), 0)
    assert found.choice.rank == rule.HEAD_ONLY
    assert found.gate.ships == HEAD
    alone = run.with_rank(found.choice.rank)
    assert alone.task.adapter == HEAD_ONLY
    assert alone.recipe.rank == 0


def test_an_adapter_that_is_asked_for_gets_the_smallest_rank_above_0(monkeypatch: pytest.MonkeyPatch) -> None:
    run = searching_run(per_class=30)
    run = dataclasses.replace(run, recipe=dataclasses.replace(run.recipe, ship=ADAPTER))
    frozen, probe = freeze(run)
    plant_nothing(monkeypatch)
    found = search_rank(run, frozen, probe, make_folds(90, 2), 0)
    assert (found.choice.rank, found.choice.overruled) == (found.choice.alike[0], True)
    assert found.choice.rank > 0
    assert found.choice.tried[0].rank == rule.HEAD_ONLY
    assert run.with_rank(found.choice.rank).recipe.ship == ADAPTER
    plant(monkeypatch, 8)
    needed = search_rank(run, frozen, probe, make_folds(90, 2), 0).choice
    assert (needed.rank, needed.overruled) == (8, False)


def test_too_few_images_take_the_usual_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    run = searching_run(per_class=5)
    asked = plant(monkeypatch, 4)
    found = search_rank(run, *freeze(run), make_folds(15, 2), 0)
    assert (found.choice.rank, found.choice.tried, asked) == (8, (), [])
    assert found.gate.head is None


def test_a_rank_is_compared_as_the_gate_compares_it() -> None:
    """With trainings that really run: losses, order and seed are those of a training with the rank given."""
    run = searching_run()
    frozen, probe = freeze(run, "balanced")
    fold = make_folds(30, 2)
    found = search_rank(run, frozen, probe, fold, 3)
    given = cross_validate(run.with_rank(found.choice.rank or 8), frozen, probe, fold, 3)
    shown = {one.rank: one for one in found.choice.tried}
    assert given.head is not None
    assert given.adapter is not None
    assert shown[0].loss == pytest.approx(given.head.loss, rel=1e-6)
    assert shown[found.choice.rank or 8].loss == pytest.approx(given.adapter.loss, rel=1e-6)


def test_losses_are_weighted_and_at_their_own_temperature() -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 3, 300)
    logits = (2 * np.eye(3)[targets] + generator.standard_normal((300, 3))).astype(np.float32)
    weights = np.linspace(0.5, 1.5, 300)

    def losses(temperature: float) -> np.ndarray:
        scaled = logits / temperature
        return np.asarray(logsumexp(scaled, axis=1) - scaled[np.arange(300), targets])

    best = minimize_scalar(lambda t: np.average(losses(t), weights=weights), bounds=(0.05, 20), method="bounded").x
    expected = weights / weights.mean() * losses(best)  # a prior pulls the temperature a little towards one
    assert compared_losses(logits, targets, weights) == pytest.approx(expected, rel=5e-2, abs=5e-3)
    assert compared_losses(2 * logits, targets, weights) == pytest.approx(expected, rel=5e-2, abs=5e-3)
