"""train.comparison.crossfit against a loop by hand, and with models that remember what they were trained on."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from adaptertune_deploy.train.comparison import crossfit
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters, frozen_features
from adaptertune_deploy.train.comparison.crossfit import answers_at, cross_validate, usual_folds
from adaptertune_deploy.train.comparison.gate import compare
from adaptertune_deploy.train.outcome.measured import HEAD
from adaptertune_deploy.train.probe.class_weights import image_weights
from adaptertune_deploy.train.probe.head import fit_head
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.run import Run
from tests.train.points import make_folds
from tests.train.runs import RECIPE, make_run, make_striped_dataset


def freeze(run: Run, rule: str = "none") -> tuple[Frozen, Probe]:
    features, targets = frozen_features(run, "train")
    weights = image_weights(targets, rule)
    return Frozen(features, targets, weights), Probe(fit_head(features, targets, 3, 0.5, weights), 1.0, {})


@pytest.mark.parametrize(("images", "folds"), [(1, 3), (499, 3), (500, 2), (2_999, 2), (3_000, 1), (10**6, 1)])
def test_small_data_have_more_folds(images: int, folds: int) -> None:
    assert usual_folds(images) == folds


@pytest.mark.parametrize("rule", ["none", "balanced"])
def test_the_comparison_is_that_of_a_loop_by_hand(rule: str) -> None:
    run = make_run(make_striped_dataset([16, 10, 4]))
    frozen, probe = freeze(run, rule)
    fold = make_folds(30, 2)
    fold[[1, 19, 28]] = -1
    head, adapter = np.zeros((30, 3), dtype=np.float32), np.zeros((30, 3), dtype=np.float32)
    images = torch.cat([batch.images for batch in run.training_images()])
    for number in range(2):
        others, asked = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        assert {1, 19, 28} <= set(others.tolist())
        part = frozen.take(others)
        head[asked] = fit_head(part.features, part.targets, 3, 0.5, part.weights).logits(frozen.features[asked])
        model = fit_adapters(run, frozen, probe, others, 6, "by hand").model
        with torch.no_grad():
            adapter[asked] = model(images[asked]).numpy()
    held = np.flatnonzero(fold >= 0)
    weights = None if frozen.weights is None else frozen.weights[held]
    expected = compare(head[held], adapter[held], frozen.targets[held], 2, weights)
    found = cross_validate(run, frozen, probe, fold, 6)
    assert (found.folds, found.images, found.ships) == (2, 27, expected.ships)
    assert (found.gain, found.error) == pytest.approx((expected.gain, expected.error), rel=1e-3, abs=1e-6)
    assert found.head is not None
    assert found.adapter is not None
    assert expected.head is not None
    assert expected.adapter is not None
    assert found.head.loss == pytest.approx(expected.head.loss, rel=1e-5)
    assert found.adapter.loss == pytest.approx(expected.adapter.loss, rel=1e-4)
    assert (found.head.top1, found.adapter.top1) == (expected.head.top1, expected.adapter.top1)


@pytest.mark.parametrize("folds", [1, 2, 3])
def test_every_image_is_answered_once_and_by_a_model_that_has_not_seen_it(
    folds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of adapters, models that know the images of their training by heart and count what they are asked."""
    run = make_run(make_striped_dataset([40, 40, 40]))
    frozen, probe = freeze(run)
    asked: list[bytes] = []
    compared: list[Any] = []

    def remember(run: Run, _f: Frozen, _p: Probe, rows: Any, _s: int, what: str) -> SimpleNamespace:
        known = {image.numpy().tobytes() for batch in run.training_images(rows) for image in batch.images}
        assert len(known) == len(rows)

        def answer(images: torch.Tensor) -> torch.Tensor:
            asked.extend(image.numpy().tobytes() for image in images)
            return torch.tensor([[float(image.numpy().tobytes() in known), 0.0, 0.0] for image in images])

        return SimpleNamespace(model=answer)

    def watched(head: Any, adapter: Any, *others: Any) -> Any:
        compared.append(adapter)
        return compare(head, adapter, *others)

    monkeypatch.setattr(crossfit, "fit_adapters", remember)
    monkeypatch.setattr(crossfit, "compare", watched)
    fold = run.fold(folds, "gate")
    gate = cross_validate(run, frozen, probe, fold, 0)
    assert gate.images == len(asked) == len(set(asked)) == (fold >= 0).sum() == (120 if folds > 1 else 24)
    assert compared[0].shape == (gate.images, 3)
    assert not compared[0].any()


def test_the_probe_of_every_fold_has_not_seen_its_images_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that are wrong within one fold alone leave the answers of that fold's probe as they are."""
    run = make_run()
    frozen, probe = freeze(run)
    fold = make_folds(30, 3)
    heads: list[Any] = []
    monkeypatch.setattr(crossfit, "adapter_answers", lambda *_: np.zeros((30, 3), dtype=np.float32))
    monkeypatch.setattr(crossfit, "compare", lambda head, *_: heads.append(head))
    cross_validate(run, frozen, probe, fold, 0)
    wrong = np.where(fold == 1, (frozen.targets + 1) % 3, frozen.targets)
    cross_validate(run, Frozen(frozen.features, wrong, None), probe, fold, 0)
    np.testing.assert_array_equal(heads[0][fold == 1], heads[1][fold == 1])
    assert not np.allclose(heads[0][fold != 1], heads[1][fold != 1])


def test_nested_adapters_of_a_fold_answer_at_every_width(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(recipe=dataclasses.replace(RECIPE, rank=4, nested=True))
    frozen, probe = freeze(run)
    fold = make_folds(30, 2)
    models = []

    def watched(*given: Any) -> Any:
        models.append(fit_adapters(*given))
        return models[-1]

    monkeypatch.setattr(crossfit, "fit_adapters", watched)
    answers = answers_at((1, 4), run, frozen, probe, fold, 0)
    assert len(models) == 2  # one training a fold, whatever is asked
    images = torch.cat([batch.images for batch in run.training_images()])
    for number, adapted in enumerate(models):
        asked = np.flatnonzero(fold == number)
        with torch.no_grad():
            np.testing.assert_allclose(answers[4][asked], adapted.model(images[asked]).numpy(), atol=1e-5)
            for adapter in adapted.model.adapters.children():
                adapter.up.weight[:, 1:] = 0
            np.testing.assert_allclose(answers[1][asked], adapted.model(images[asked]).numpy(), atol=1e-5)
    assert np.abs(answers[4] - answers[1]).max() > 1e-4


@pytest.mark.parametrize("held", [0, 1, 19])
def test_too_few_images_decide_nothing_and_cost_no_training(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossfit, "fit_adapters", lambda *_: pytest.fail("a fold was trained"))
    run = make_run()
    fold = np.full(30, -1, dtype=np.int64)
    fold[:held] = make_folds(held, 2)
    gate = cross_validate(run, *freeze(run), fold, 0)
    assert (gate.images, gate.ships, gate.head, gate.adapter, gate.gain) == (held, HEAD, None, None, 0.0)


def test_every_fold_says_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    for folds in (2, 1):
        run = make_run(make_striped_dataset([40, 40, 40]), progress=lambda what, *_: seen.append(what))
        frozen, probe = freeze(run)
        seen.append("|")
        cross_validate(run, frozen, probe, run.fold(folds, "gate"), 0)
    stages = [what for turn, what in enumerate(seen) if turn == 0 or what != seen[turn - 1]]
    assert [stage for stage in stages if "fold" in stage or "comparison" in stage] == [
        "fold 1 of 2",
        "fold 1 of 2, answers",
        "fold 2 of 2",
        "fold 2 of 2, answers",
        "comparison",
        "comparison, answers",
    ]
