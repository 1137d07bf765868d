"""train.trainer: what a whole run on a folder of small pictures writes and reports."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.train.comparison import measuring
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.train.trainer.trainings import BACKBONE, ask


@pytest.fixture(scope="module")
def stages() -> dict[str, list[tuple[int, int]]]:
    """Return what the run of `result` reported: stage -> (done, total)."""
    return {}


@pytest.fixture(scope="module")
def result(
    pictures: Path, stages: dict[str, list[tuple[int, int]]], tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    return train_task(
        ask(pictures, tmp_path_factory.mktemp("out")),
        lambda what, done, total: stages.setdefault(what, []).append((done, total)),
    )


def test_the_artefact_says_what_was_trained_on_what(result: TrainResult) -> None:
    config = adapters.read_config(result.folder)
    assert config == result.config
    assert (config.task.name, config.task.labels) == ("trees", ("ash", "elm", "oak"))
    shape = config.task.adapter
    assert (shape.rank, shape.alpha, shape.blocks) == (2, 1.0, (6, 7))
    assert config.backbone == load_backbone(BACKBONE, allow_random=True).spec
    assert config.backbone.name.endswith(".random")
    assert config.preprocess.size == (64, 64)
    assert (config.dataset.name, config.dataset.test_rule) == (".../trees", "stratified:0.2")
    assert (config.dataset.train, config.dataset.test) == (34, 8)
    assert config.recipe is not None
    assert (config.recipe.steps, config.recipe.epochs, config.recipe.folds) == (5, 40 / 34, 2)


def test_the_report_holds_the_proofs_of_the_run(result: TrainResult) -> None:
    facts = json.loads((result.folder / "report" / "report.json").read_text())
    frozen = load_backbone(BACKBONE, allow_random=True)
    assert facts["proofs"] == {
        "start_images": 8,
        "frozen_tensors": len(frozen.module.state_dict()),
        "frozen_sha256": frozen.spec.sha256,
        "adapters_with_gradient": 2,
    }
    trained = 2 * (2 * 128 * 2 + 2 + 128) + 3 * (128 + 1)
    assert facts["adapter"]["parameters"] == trained
    assert facts["head"]["parameters"] == 3 * (128 + 1)
    assert facts["frozen_parameters"] == sum(value.numel() for value in frozen.module.parameters())
    assert [point["step"] for point in facts["curve"]] == [1, 2, 3, 4, 5]
    assert facts["test_images"] == 8


def test_the_gate_decides_and_its_numbers_are_in_the_artefact(result: TrainResult) -> None:
    measured, config = result.measured, result.config
    gate = measured.gate
    assert gate is not None
    assert gate.head is not None
    assert gate.adapter is not None
    assert (gate.folds, gate.images) == (2, 34)  # every training image was held out once
    assert config.ships == measured.ships == gate.ships
    assert measured.chosen_by == "gate"
    assert config.task.temperature == gate.adapter.temperature
    assert measured.adapter is not None
    assert measured.adapter.calibration.temperature == gate.adapter.temperature
    assert measured.head.calibration.temperature == config.probe.temperature
    facts = json.loads((result.folder / "report" / "report.json").read_text())["out_of_fold"]
    assert (facts["gain"], facts["error"], facts["ships"]) == (gate.gain, gate.error, gate.ships)
    card = " ".join((result.folder / "README.md").read_text().split())
    assert verdict.ships(measured)[1:] in card
    assert verdict.out_of_fold(gate)[1:] in card


def test_the_scores_are_those_of_the_weights_that_were_written(result: TrainResult) -> None:
    measured = result.measured
    assert measured.adapter is not None
    for ship, one in ((HEAD, measured.head), (ADAPTER, measured.adapter)):
        again = evaluate_task(EvaluateRequest(result.folder, ship=ship, device="cpu", allow_random=True))
        assert again.measure.scores.loss == pytest.approx(one.scores.loss, rel=1e-5)
        assert again.measure.scores.loss == pytest.approx(result.config.metrics[f"test_loss_{ship}"], rel=1e-5)
        np.testing.assert_array_equal(again.measure.scores.confusion, one.scores.confusion)
    assert measured.head.scores.loss != measured.adapter.scores.loss


def test_samples_of_somebodys_own_folder_stay_on_this_machine(result: TrainResult, pictures: Path) -> None:
    assert not (result.folder / "samples").exists()
    found = samples.find(result.folder, result.config.samples)
    originals = {path.read_bytes() for path in pictures.rglob("*.png")}
    assert len(found) == 8
    assert {path.read_bytes() for _, path in found} <= originals


def test_the_images_are_found_again_from_anywhere(
    result: TrainResult, pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    request = EvaluateRequest(result.folder, device="cpu", allow_random=True)
    loss = pytest.approx(result.measured.shipped.scores.loss, rel=1e-5)
    assert evaluate_task(request).measure.scores.loss == loss
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(UsageError, match=r"was trained on the images in \.\.\./trees, .*; name it: --dataset FOLDER"):
        evaluate_task(request)
    assert evaluate_task(dataclasses.replace(request, dataset=str(pictures))).measure.scores.loss == loss


def test_the_licence_and_the_notes_are_told_before_any_work(
    result: TrainResult, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(measuring, "frozen_features", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_task(ask(pictures, tmp_path), tell=told.append)
    assert tuple(told) == result.notes
    assert told[0] == f"licence of {pictures}: {result.config.dataset.licence}"
    assert told[1:] == ["there is no test split, so 8 of 42 training images are held out as test, stratified"]


def test_every_stage_reports_its_progress_to_its_end(
    result: TrainResult, stages: dict[str, list[tuple[int, int]]]
) -> None:
    assert list(stages) == [
        "hashing images",
        "decoding images",
        "reading images",
        "comparing images",
        "frozen features of train",
        "linear probe",
        "frozen features of test",
        "fold 1 of 2",
        "fold 1 of 2, answers",
        "fold 2 of 2",
        "fold 2 of 2, answers",
        "all images",
        "test adapter",
    ]
    assert stages["all images"] == [(step, 5) for step in range(1, 6)]
    assert all(steps[-1][0] == steps[-1][1] for steps in stages.values())
