"""train.comparison.candidates: the exact start, the head it begins with, and what a training may see."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import TrainingError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.batches.loader import TrainingLoader
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import ArrayReader, Dataset, Pixels, Split
from adaptertune_deploy.model.adapted import AdaptedViT, pooled_features
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.train.comparison import candidates
from adaptertune_deploy.train.comparison.candidates import Frozen, fit_adapters, frozen_features, set_head
from adaptertune_deploy.train.loop.fit import Fit
from adaptertune_deploy.train.probe.class_weights import image_weights
from adaptertune_deploy.train.probe.head import Head, fit_head
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.request.recipe import Recipe, count_steps
from adaptertune_deploy.train.run import Run
from tests.model.builders import make_model
from tests.train.runs import RECIPE, SPEC, make_run, make_striped_dataset, trained_hash

HELD = np.array([0, 3, 11, 17, 20, 29])  # of 30 training images


class WatchedPixels(PixelCache):
    """Remembers the names of the images that were decoded or looked at."""

    def __init__(self) -> None:
        super().__init__(SPEC)
        self.seen: set[str] = set()

    def fill(self, split: Split, **options: Any) -> dict[str, str]:
        self.seen |= set(split.names)
        return super().fill(split, **options)

    def served(self, split: Split, row: int) -> Pixels:
        self.seen.add(split.names[row])
        return super().served(split, row)

    def reduced(self, split: Split, row: int) -> Pixels:
        self.seen.add(split.names[row])
        return super().reduced(split, row)


def freeze(run: Run, rule: str = "none") -> tuple[Frozen, Probe]:
    """Return the frozen features of a run, and a probe on them with a penalty of 0.5."""
    features, targets = frozen_features(run, "train")
    weights = image_weights(targets, rule)
    return Frozen(features, targets, weights), Probe(fit_head(features, targets, 3, 0.5, weights), 1.0, {})


def rest(run: Run) -> Any:
    return np.setdiff1d(np.arange(len(run.splits.train)), HELD)


@pytest.mark.parametrize(("part", "images"), [("train", 30), ("test", 12)])
def test_frozen_features_are_the_backbones_on_images_as_they_are_served(part: str, images: int) -> None:
    run = make_run()
    features, targets = frozen_features(run, part)
    split = run.splits.train if part == "train" else run.test
    served = torch.stack([torch.from_numpy(preprocess.transform(split.image(row), SPEC)) for row in range(images)])
    with torch.no_grad():
        expected = pooled_features(run.backbone.module, served).numpy()
    np.testing.assert_allclose(features, expected, atol=1e-5)
    np.testing.assert_array_equal(targets, split.targets)
    assert features.dtype == np.float32


def start_of(run: Run, frozen: Frozen, probe: Probe, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return what the training loop is given; it does nothing."""
    given: dict[str, Any] = {}

    def stop(model: AdaptedViT, batches: TrainingLoader, *others: Any) -> Fit:
        given.update(model=model, batches=batches, others=others)
        return Fit((), len(model.adapters))

    monkeypatch.setattr(candidates, "fit", stop)
    adapted = fit_adapters(run, frozen, probe, rest(run), 3, "fold 1 of 5")
    return {**given, "adapted": adapted}


def test_the_start_equals_the_backbone_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    found = start_of(run, *freeze(run), monkeypatch)
    for batch in (*run.training_images(), *run.test_images()):
        with torch.no_grad():
            assert torch.equal(
                found["model"].features(batch.images), pooled_features(run.backbone.module, batch.images)
            )
    assert found["adapted"].start_images == 8
    assert all(adapter.down.weight.any() for adapter in found["model"].adapters.values())


@pytest.mark.parametrize("rule", ["none", "balanced"])
def test_the_start_head_has_a_tenth_of_the_probes_penalty_and_knows_its_own_rows_only(
    rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_striped_dataset([18, 9, 3]))
    frozen, probe = freeze(run, rule)
    found, rows = start_of(run, frozen, probe, monkeypatch), rest(run)
    weights = None if rule == "none" else frozen.weights[rows]  # type: ignore[index]
    expected = fit_head(frozen.features[rows], frozen.targets[rows], 3, 0.05, weights)
    np.testing.assert_array_equal(found["model"].head.weight.detach().numpy(), expected.weight)
    np.testing.assert_array_equal(found["model"].head.bias.detach().numpy(), expected.bias)
    assert not np.allclose(expected.weight, probe.head.weight, rtol=0.1)
    recipe, device, given, _, what, *_ = found["others"]
    assert (recipe, device, what) == (dataclasses.replace(run.recipe, seed=3), run.device, "fold 1 of 5")
    assert given is None if weights is None else np.array_equal(given, weights)


def test_the_length_is_that_of_its_own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    found = start_of(run, *freeze(run), monkeypatch)
    assert len(found["batches"]) == count_steps(RECIPE, 24) == 3 != count_steps(RECIPE, 30)
    assert found["batches"].batch_size == 8


def test_a_fold_is_passed_over_as_often_as_all_images_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(recipe=dataclasses.replace(RECIPE, epochs=0))
    asked: list[tuple[int, ...]] = []

    def counted(recipe: Recipe, *images: int) -> int:
        asked.append(images)
        return count_steps(recipe, *images)

    monkeypatch.setattr(candidates, "count_steps", counted)
    start_of(run, *freeze(run), monkeypatch)
    assert asked == [(24, 30)]


def test_a_fold_looks_at_no_image_that_it_will_be_asked_about() -> None:
    pixels = WatchedPixels()
    run = make_run(pixels=pixels, recipe=dataclasses.replace(RECIPE, epochs=3))
    frozen, probe = freeze(run)
    pixels.seen.clear()
    fit_adapters(run, frozen, probe, rest(run), 0, "fold")
    names = run.splits.train.names
    assert pixels.seen == {names[row] for row in rest(run)}
    assert len(pixels.seen) == 24


def poisoned(dataset: Dataset) -> Dataset:
    """Return the dataset with noise in place of the images of HELD."""
    reader = dataset.train.reader
    assert isinstance(reader, ArrayReader)
    noise = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    changed = ArrayReader({**reader.pixels, **{dataset.train.names[row]: noise for row in HELD}})
    parts = {part: getattr(dataset, part) for part in ("train", "test")}
    return dataclasses.replace(
        dataset, **{part: Split(split.names, split.targets, changed) for part, split in parts.items()}
    )


def test_nothing_about_the_images_of_a_fold_reaches_its_training() -> None:
    """Other pixels, features, labels and weights of the images held out give the same weights, bit for bit."""
    dataset = make_striped_dataset([18, 9, 3])
    run, other = make_run(dataset), make_run(poisoned(dataset))
    frozen, probe = freeze(run, "balanced")
    assert frozen.weights is not None
    spoilt = Frozen(frozen.features.copy(), frozen.targets.copy(), frozen.weights.copy())
    spoilt.features[HELD], spoilt.targets[HELD], spoilt.weights[HELD] = np.nan, 2, 100.0  # type: ignore[index]
    hashes = [
        trained_hash(fit_adapters(each, known, probe, rest(run), 0, "fold").model)
        for each, known in ((run, frozen), (other, spoilt))
    ]
    assert hashes[0] == hashes[1]
    kept = rest(run).copy()
    kept[0] = HELD[0]
    assert trained_hash(fit_adapters(run, frozen, probe, kept, 0, "fold").model) != hashes[0]


def test_the_seed_decides_initialisation_order_and_augmentation_and_nothing_else_does() -> None:
    run = make_run()
    frozen, probe = freeze(run)
    hashes = []
    for seed in (4, 4, 5):
        torch.rand(3)
        adapted = fit_adapters(run, frozen, probe, np.arange(30), seed, "all images")
        assert not adapted.model.training
        hashes.append(trained_hash(adapted.model))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_start_that_is_not_exact_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    frozen, probe = freeze(run)
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, x: forward(self, x) + 1e-6)
    with pytest.raises(TrainingError, match="before the first step the adapted features differ"):
        fit_adapters(run, frozen, probe, np.arange(30), 0, "all images")


def test_a_head_is_copied_and_not_shared() -> None:
    model = make_model()
    head = Head(np.arange(48, dtype=np.float32).reshape(3, 16), np.ones(3, dtype=np.float32), 1.0)
    set_head(model, head)
    with torch.no_grad():
        np.testing.assert_allclose(
            model.head(torch.ones(1, 16)).numpy(), head.logits(np.ones((1, 16), dtype=np.float32))
        )
        model.head.weight.zero_()
    assert head.weight[2, 15] == 47
