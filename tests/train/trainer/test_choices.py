"""What a recipe chooses: which candidate ships, further seeds, no adapter at all, class weights, widths, precision."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.reference import read_reference
from adaptertune_deploy.core.answers.accuracy import recorded
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.reference import torch_logits
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.comparison import candidates
from adaptertune_deploy.train.loop.fit import Fit
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from adaptertune_deploy.train.trainer import train_task
from tests.model.builders import make_backbone
from tests.train.runs import draw, make_pictures
from tests.train.trainer.trainings import RECIPE, ask, watch_trainings


@pytest.mark.parametrize("gates", [HEAD, ADAPTER])
@pytest.mark.parametrize("asked", ["auto", HEAD, ADAPTER])
def test_ship_overrules_the_gate_and_says_so(
    asked: str, gates: str, tiny: None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cross_validate = trainer.cross_validate
    monkeypatch.setattr(
        trainer, "cross_validate", lambda *given: dataclasses.replace(cross_validate(*given), ships=gates)
    )
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, ship=asked)))
    measured = result.measured
    expected = gates if asked == "auto" else asked
    assert result.config.ships == measured.ships == expected
    assert measured.chosen_by == ("gate" if asked == "auto" else "user")
    assert measured.gate is not None
    assert measured.gate.ships == gates
    _, shipped = adapters.read_adapter(result.folder)
    assert shipped.task.adapter.rank == (2 if expected == ADAPTER else 0)
    for ship, rank in ((HEAD, 0), (ADAPTER, 2)):  # the other candidate is there all the same
        assert adapters.read_adapter(result.folder, ship)[1].task.adapter.rank == rank
    assert result.config.metrics["test_top1_shipped"] == result.config.metrics[f"test_top1_{expected}"]


def test_further_seeds_are_measured_and_the_first_is_kept(
    tiny: None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = train_task(ask(pictures, tmp_path / "one", dataclasses.replace(RECIPE, seed=5)))
    trainings = watch_trainings(monkeypatch)
    three = train_task(ask(pictures, tmp_path / "three", dataclasses.replace(RECIPE, seed=5, seeds=3)))
    assert three.config.tensors_sha256 == one.config.tensors_sha256
    assert three.measured.gate == one.measured.gate
    assert one.measured.repeats == ()
    assert [repeat.seed for repeat in three.measured.repeats] == [6, 7]
    assert len(trainings) == 3 * 3
    losses = {repeat.adapter.scores.loss for repeat in three.measured.repeats}
    assert three.measured.adapter is not None
    assert len(losses | {three.measured.adapter.scores.loss}) == 3
    gains = {repeat.gate.gain for repeat in three.measured.repeats if repeat.gate is not None}
    assert len(gains) == 2


def test_rank_0_trains_the_probe_alone(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "load_backbone", lambda *_, **__: make_backbone())
    monkeypatch.setattr(trainer, "fit_adapters", lambda *_: pytest.fail("adapters were trained"))
    monkeypatch.setattr(trainer, "cross_validate", lambda *_: pytest.fail("something was compared"))
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, rank=0, seeds=2)))
    measured, config = result.measured, result.config
    assert (measured.adapter, measured.gate, measured.proofs, measured.curve, measured.repeats) == (
        None,
        None,
        None,
        (),
        (),
    )
    assert (config.ships, config.recipe, config.task.adapter) == (HEAD, None, HEAD_ONLY)
    assert verdict.ships(measured) == "the head alone ships: no adapter was trained (rank 0)"
    _, shipped = adapters.read_adapter(result.folder)
    assert set(shipped.tensors) == {"head.weight", "head.bias"}
    assert "no adapters" in (result.folder / "README.md").read_text()


@pytest.mark.parametrize("rule", ["balanced", "none"])
def test_unequal_classes_are_weighed_as_asked_and_both_accuracies_are_given(
    rule: str, tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path / "trees", 8)
    for number in range(8, 24):
        Image.fromarray(draw(0, number)).save(folder / "ash" / f"{number:02d}.png")
    weights: list[Any] = []
    fit = candidates.fit

    def watched(model: AdaptedViT, batches: Any, recipe: Any, device: Any, given: Any, *others: Any) -> Fit:
        weights.append(given)
        return fit(model, batches, recipe, device, given, *others)

    monkeypatch.setattr(candidates, "fit", watched)
    result = train_task(ask(folder, tmp_path / "out", dataclasses.replace(RECIPE, class_weights=rule)))
    assert any(note.startswith("the classes differ in size: ") for note in result.notes)
    assert result.measured.classes_unequal
    assert result.config.recipe is not None
    assert result.config.recipe.class_weights == rule
    assert all((given is not None) == (rule == "balanced") for given in weights)
    scores = result.measured.head.scores
    assert scores.balanced == pytest.approx(np.nanmean(scores.per_class))
    assert (result.config.metrics["test_top1_head"], result.config.metrics["test_balanced_head"]) == (
        scores.top1,
        scores.balanced,
    )


def test_nested_adapters_are_written_with_what_each_width_is_worth(tiny: None, pictures: Path, tmp_path: Path) -> None:
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, rank=4, nested=True, ship=ADAPTER)))
    config = adapters.read_config(result.folder)
    assert [width.rank for width in config.widths] == [1, 2, 4]
    assert config.widths == tuple(width.record for width in result.measured.widths)
    assert config.widths[-1].temperature == config.task.temperature
    assert all(width.measure is not None and width.measure.images == 34 for width in config.widths)
    known = read_reference(result.folder, config, "adapter-2")
    assert known is not None
    backbone, (_, narrow) = make_backbone(), adapters.read_adapter(result.folder, "adapter-2")
    found = samples.read(result.folder, config.samples)
    pixels = np.stack([preprocess(data, config.preprocess) for _, data in found])
    np.testing.assert_allclose(torch_logits(backbone, narrow, pixels), known, atol=1e-5)
    narrowest = result.measured.widths[0].test
    assert config.metrics["test_top1_adapter-1"] == narrowest.scores.top1
    record = recorded(config, config.shipped("adapter-1"))
    assert record is not None
    assert record.right == narrowest.scores.hits.sum()


def test_bf16_trains_in_bf16_and_is_measured_in_float32(
    tiny: None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, torch.dtype]] = []
    forward = AdaptedViT.forward

    def watched(self: AdaptedViT, images: torch.Tensor) -> torch.Tensor:
        logits = forward(self, images)
        seen.append((torch.is_grad_enabled(), logits.dtype))
        return logits

    monkeypatch.setattr(AdaptedViT, "forward", watched)
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, precision="bf16")))
    assert {dtype for learning, dtype in seen if learning} == {torch.bfloat16}
    # The proof of the exact start, the answers out of fold, and the test.
    assert {dtype for learning, dtype in seen if not learning} == {torch.float32}
    assert result.config.recipe is not None
    assert result.config.recipe.precision == "bf16"
