"""train.evaluation.answered: whoever answers, the images are of the task's own split; answers are counted alike."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.model.reference import torch_logits
from adaptertune_deploy.train.evaluation.answered import BATCH, answered
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.train.runs import make_pictures

LABELS = ("ash", "elm", "oak")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    pictures = make_pictures(tmp_path_factory.mktemp("data") / "trees", 20, LABELS)
    recipe = Recipe(rank=0, precision="fp32", device="cpu")
    out = tmp_path_factory.mktemp("out")
    return train_task(TrainRequest(str(pictures), "vit_pico_patch8_64.random", out, recipe, allow_random=True))


def test_torchs_own_answers_give_torchs_own_scores(trained: TrainResult) -> None:
    request = EvaluateRequest(trained.folder, device="cpu", allow_random=True)
    _, adapter = adapters.read_adapter(trained.folder)
    backbone = load_backbone("vit_pico_patch8_64.random", allow_random=True)
    sizes: list[int] = []

    def torch(images: Array) -> Array:
        sizes.append(len(images))
        return torch_logits(backbone, adapter, images)

    def turned(images: Array) -> Array:
        return np.roll(torch_logits(backbone, adapter, images), 1, axis=1)

    told: list[tuple[str, int, int]] = []
    found = answered(request, {"fp32": torch, "turned": turned}, lambda *step: told.append(step))
    wanted = evaluate_task(request).measure
    assert found.split == "test"
    assert sizes == [BATCH, 12 - BATCH]
    assert told[-1] == ("evaluate on test", 2, 2)
    plain = found.measures["fp32"]
    np.testing.assert_array_equal(plain.scores.hits, wanted.scores.hits)
    assert plain.scores.loss == pytest.approx(wanted.scores.loss, rel=1e-4)
    assert (plain.parameters, plain.calibration.temperature) == (wanted.parameters, wanted.calibration.temperature)
    hits, other = plain.scores.hits, found.measures["turned"].scores.hits
    paired = found.against("fp32", "turned")
    assert (paired.better, paired.worse) == (int((~hits & other).sum()), int((hits & ~other).sum()))
    assert found.same("fp32", "turned") == 0
    assert found.same("fp32", "fp32") == 12


def test_other_images_than_those_of_the_training_are_refused(trained: TrainResult, tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "trees", 21, LABELS)
    request = EvaluateRequest(trained.folder, dataset=str(pictures), device="cpu")
    with pytest.raises(DatasetError, match="splits otherwise than when"):
        answered(request, {"fp32": lambda images: np.zeros((len(images), 3), np.float32)})
    assert dataclasses.replace(request, dataset=None).dataset is None
