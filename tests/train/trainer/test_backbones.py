"""Backbones by their names: given weights, weights of the tasks beside, and a real DeiT-Tiny on real pictures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.trainer import train_task
from tests.train.trainer.trainings import RECIPE, ask


def test_a_task_joins_the_tasks_beside_it_with_their_very_weights(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model
    small = {"depth": 1, "embed_dim": 12, "num_heads": 2}

    def offline(*args: Any, pretrained: bool = False, **given: Any) -> Any:
        if pretrained:
            raise OSError("offline")
        return create(*args, **{**small, **given})

    monkeypatch.setattr(timm, "create_model", offline)
    name = "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    torch.save(timm.create_model(name).state_dict(), tmp_path / "weights.pth")
    recipe = dataclasses.replace(RECIPE, placement="all")
    out = tmp_path / "out"
    first = train_task(TrainRequest(str(pictures), name, out, recipe, task="first", weights=tmp_path / "weights.pth"))
    (tmp_path / "weights.pth").unlink()
    second = train_task(TrainRequest(str(pictures), None, out, recipe, task="second"))
    assert second.config.backbone == first.config.backbone
    assert not any("other weights" in note for note in second.notes)
    assert "base_model" not in (second.folder / "README.md").read_text()


def test_an_untagged_backbone_is_named_in_the_notes(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model
    small = {"depth": 1, "embed_dim": 12, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: create(*args, **{**small, **given}))
    torch.save(timm.create_model("deit_tiny_patch16_224").state_dict(), tmp_path / "weights.pth")
    recipe = dataclasses.replace(RECIPE, placement="all")
    request = ask(pictures, tmp_path / "out", recipe, weights=tmp_path / "weights.pth")
    result = train_task(dataclasses.replace(request, backbone="deit_tiny_patch16_224", allow_random=False))
    assert result.config.backbone.name == "deit_tiny_patch16_224.fb_in1k"
    assert "using timm's default, deit_tiny_patch16_224.fb_in1k" in result.notes[1]
    (tmp_path / "weights.pth").unlink()  # what was given once is found again
    again = evaluate_task(EvaluateRequest(result.folder, device="cpu"))
    assert again.measure.scores.loss == pytest.approx(result.measured.shipped.scores.loss, rel=1e-5)


@pytest.mark.slow
def test_real_pets_are_learned_and_measured_again_with_the_same_scores(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "deit_tiny_patch16_224.fp16.safetensors"
    request = TrainRequest(
        "pets",
        "deit_tiny_patch16_224",
        tmp_path,
        Recipe(epochs=1, folds=1, device="cpu"),
        data_dir=shared_data / "pets-3breeds",
        weights=weights,
    )
    result = train_task(request)
    assert (result.config.dataset.train, result.config.dataset.test) == (294, 150)
    measured = result.measured
    assert measured.adapter is not None
    assert measured.adapter.parameters == 39_264 + 3 * 193
    assert measured.head.scores.top1 > 0.9
    assert measured.adapter.scores.top1 > 0.9
    again = evaluate_task(EvaluateRequest(result.folder, data_dir=shared_data / "pets-3breeds", device="cpu"))
    assert again.measure.scores.loss == pytest.approx(measured.shipped.scores.loss, rel=1e-5)
