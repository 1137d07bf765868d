"""Trainings on a folder of small pictures: as the tests ask for them, and what each of them was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.train import artefact, trainer
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train.comparison import candidates
from adaptertune_deploy.train.comparison.candidates import Adapted
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from tests.model.builders import make_backbone

BACKBONE = "vit_pico_patch8_64.random"
RECIPE = Recipe(
    rank=2, placement="last:2", epochs=1, batch_size=8, folds=2, lr=5e-3, precision="fp32", device="cpu", workers=0
)


def ask(pictures: Path, out: Path, recipe: Recipe = RECIPE, **changes: Any) -> TrainRequest:
    return TrainRequest(str(pictures), BACKBONE, out, recipe, **{"allow_random": True, **changes})


def replace_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "load_backbone", lambda *_, **__: make_backbone())
    monkeypatch.setattr(preparing, "backbone_depth", lambda *_: 3)
    monkeypatch.setattr(artefact, "write_report", lambda *_: None)


def watch_trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], Adapted]]:
    """Return a list that gets every training's name, its rows and what became of it."""
    seen: list[tuple[str, list[int], Adapted]] = []
    fit_adapters = candidates.fit_adapters

    def watched(run: Any, frozen: Any, probe: Any, rows: Any, seed: int, what: str) -> Adapted:
        adapted = fit_adapters(run, frozen, probe, rows, seed, what)
        seen.append((what, rows.tolist(), adapted))
        return adapted

    monkeypatch.setattr(trainer, "fit_adapters", watched)
    monkeypatch.setattr("adaptertune_deploy.train.comparison.crossfit.fit_adapters", watched)
    return seen
