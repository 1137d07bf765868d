"""Full fine-tuning writes a backbone of its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request.recipe import method_fields
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.train.trainer.trainings import RECIPE, ask

FULL_RECIPE = dataclasses.replace(RECIPE, **method_fields("full"))


@pytest.fixture(scope="module")
def tuned(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    request = ask(pictures, tmp_path_factory.mktemp("tuned"), dataclasses.replace(FULL_RECIPE, ship="full"))
    return train_task(dataclasses.replace(request, backbone=EMBEDDED_BACKBONE, allow_random=False))


def test_full_fine_tuning_writes_a_backbone_of_its_own_and_measures_it(tuned: TrainResult) -> None:
    config, measured = adapters.read_config(tuned.folder), tuned.measured
    assert (config.ships, measured.ships, measured.method, config.task.adapter) == ("full", "full", "full", HEAD_ONLY)
    assert config.candidates == ("full", "head")
    assert config.recipe is not None
    assert (config.recipe.method, config.recipe.layer_decay, config.recipe.lr) == ("full", 0.75, 5e-4)
    assert measured.proofs is None
    assert measured.gate is not None
    assert measured.gate.folds == 2
    assert config.backbone == load_backbone(EMBEDDED_BACKBONE).spec
    leaving, adapter = adapters.read_adapter(tuned.folder)
    assert leaving.backbone.sha256 == config.tuned_sha256 != config.backbone.sha256
    assert adapter.task.temperature == measured.gate.temperature
    for ship, one in (("full", measured.adapter), ("head", measured.head)):
        assert one is not None
        again = evaluate_task(EvaluateRequest(tuned.folder, ship=ship, device="cpu"))
        assert again.measure.scores.loss == pytest.approx(one.scores.loss, rel=1e-5)
        assert again.measure.parameters == one.parameters
        assert config.metrics[f"test_top1_{ship}"] == one.scores.top1
    facts = json.loads((tuned.folder / "report" / "report.json").read_text())
    assert facts["adapter"] is None
    assert facts["full"]["parameters"] > facts["frozen_parameters"]
    card = " ".join((tuned.folder / "README.md").read_text().split())
    assert "the whole backbone, fine-tuned, with a head of its own" in card
    assert "there is no unchanged backbone to be shown" in card


def test_full_fine_tuning_takes_the_backbones_own_image_size(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--method full: trains .* at its own image size, 64 x 64; leave out"):
        train_task(ask(pictures, tmp_path, FULL_RECIPE, image_size=(32, 32)))
