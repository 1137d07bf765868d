"""train.evaluation.reevaluate: the same split gives the same scores, and other data, weights or files are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import BackboneError, DatasetError, FormatError, UsageError
from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.splits import split
from adaptertune_deploy.data.duplicates import TRAIN, contents_of
from adaptertune_deploy.data.looks.quick import look
from adaptertune_deploy.data.names.whereabouts import find_dataset
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.train.evaluation.reevaluate import EvaluateRequest, evaluate_task, measured, open_split
from adaptertune_deploy.train.outcome.scores import cross_entropy
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.builders import make_task, write_adapter
from tests.train.runs import draw, make_pictures

LABELS = ("ash", "elm", "oak")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    pictures = make_pictures(tmp_path_factory.mktemp("data") / "trees", 10, LABELS)
    recipe = Recipe(rank=2, placement="last:1", epochs=1, lr=5e-3, precision="fp32", device="cpu")
    out = tmp_path_factory.mktemp("out")
    return train_task(TrainRequest(str(pictures), "vit_pico_patch8_64.random", out, recipe, allow_random=True))


@pytest.fixture
def pictures(trained: TrainResult, tmp_path: Path) -> Path:
    """Return a copy of the data that a test may change."""
    return Path(shutil.copytree(find_dataset(trained.config, None, None)[0], tmp_path / "trees"))


def ask(trained: TrainResult, **changes: Any) -> EvaluateRequest:
    return dataclasses.replace(EvaluateRequest(trained.folder, device="cpu", allow_random=True), **changes)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change an adapter folder as one that was trained so."""
    config = dataclasses.replace(adapters.read_config(folder), **changes)
    held = load((folder / adapters.MODEL_NAME).read_bytes())
    digest = adapters.write_tensors(folder, held, config.identity)
    adapters.write_config(folder, dataclasses.replace(config, tensors_sha256=digest))


@pytest.mark.parametrize(("split", "images"), [("test", 6), ("train", 24)])
@pytest.mark.parametrize("ship", ["head", "adapter"])
def test_either_candidate_is_measured_as_training_measured_it(
    trained: TrainResult, split: str, images: int, ship: str
) -> None:
    result = evaluate_task(ask(trained, split=split, ship=ship))
    assert (result.split, result.candidate, result.measure.scores.images) == (split, ship, images)
    measure = getattr(trained.measured, ship)
    assert result.measure.parameters == measure.parameters
    assert result.measure.calibration.temperature == measure.calibration.temperature
    assert result.frozen == trained.measured.frozen
    assert any("held out as test" in note for note in result.notes)
    if split == "test":
        assert dataclasses.astuple(result.measure.calibration) == pytest.approx(
            dataclasses.astuple(measure.calibration), rel=1e-4, abs=1e-5
        )
        assert result.measure.scores.hits.tolist() == measure.scores.hits.tolist()
    else:
        assert result.measure.scores.loss != pytest.approx(measure.scores.loss, rel=1e-3)


def test_what_ships_is_measured_when_nothing_else_is_said(trained: TrainResult, pictures: Path) -> None:
    result = evaluate_task(ask(trained, dataset=str(pictures)))
    assert result.candidate == trained.config.ships == trained.measured.ships
    assert result.measure.scores.loss == pytest.approx(trained.measured.shipped.scores.loss, rel=1e-5)


def test_rank_0_has_no_adapter_to_measure(trained: TrainResult, tmp_path: Path) -> None:
    folder = tmp_path / "pets"
    write_adapter(folder, make_task("pets", rank=0))
    with pytest.raises(UsageError, match="was trained with rank 0 and has no adapter"):
        evaluate_task(ask(trained, folder=folder, ship="adapter"))


def test_a_temperature_is_undone_for_the_comparison() -> None:
    logits = np.array([[2.0, 0.0, -1.0], [0.5, 0.0, 0.0], [0.0, 3.0, 0.0]], dtype=np.float32)
    targets = np.array([0, 1, 1])
    found = measured(logits / 4, targets, 4.0, 9)
    assert found.calibration.loss_before == pytest.approx(cross_entropy(logits, targets), rel=1e-6)
    assert found.calibration.loss_after == found.scores.loss == cross_entropy(logits / 4, targets)


def test_progress_is_reported(trained: TrainResult) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate_task(ask(trained), lambda *step: seen.append(step))
    assert seen[-1] == ("evaluate on test", 1, 1)


def test_the_stored_preprocessing_is_used(trained: TrainResult, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "trees"))
    rewrite(folder, preprocess=dataclasses.replace(trained.config.preprocess, mean=(0.9, 0.9, 0.9)))
    pictures = find_dataset(trained.config, None, None)[0]
    found = evaluate_task(ask(trained, folder=folder, dataset=pictures))
    assert found.measure.scores.loss != pytest.approx(trained.measured.shipped.scores.loss, rel=1e-3)


@pytest.mark.parametrize("split", ["val", "all"])
def test_a_split_that_does_not_exist_is_refused(trained: TrainResult, split: str) -> None:
    with pytest.raises(UsageError, match=f"--split {split}: dataset .* has train and test"):
        evaluate_task(ask(trained, split=split))


def test_a_class_folder_that_was_renamed_is_refused(trained: TrainResult, pictures: Path) -> None:
    (pictures / "ash").rename(pictures / "willow")
    with pytest.raises(DatasetError, match=r"has 3 labels, the task 3, and they differ \('elm' against 'ash' first\)"):
        evaluate_task(ask(trained, dataset=str(pictures)))


def test_another_number_of_classes_is_refused(trained: TrainResult, pictures: Path) -> None:
    shutil.copytree(pictures / "oak", pictures / "pine")
    with pytest.raises(
        DatasetError, match=r"has 4 labels, the task 3, and they differ \('pine' against 'none' first\)"
    ):
        evaluate_task(ask(trained, dataset=str(pictures)))
    shutil.rmtree(pictures / "pine")
    shutil.rmtree(pictures / "oak")
    with pytest.raises(DatasetError, match=r"has 2 labels, the task 3, and they differ \('none' against 'oak' first\)"):
        evaluate_task(ask(trained, dataset=str(pictures)))


@pytest.mark.parametrize("change", ["one more", "one less"])
def test_images_that_came_or_went_are_refused(trained: TrainResult, pictures: Path, change: str) -> None:
    if change == "one more":
        Image.fromarray(draw(0, 77)).save(pictures / "ash" / "77.png")
    else:
        (pictures / "oak" / "03.png").unlink()
    with pytest.raises(DatasetError, match=r"splits otherwise than when 'trees' was trained .*: images came, went or"):
        evaluate_task(ask(trained, dataset=str(pictures)))


@pytest.mark.parametrize("by_pixels", [True, False])
def test_images_in_files_of_other_bytes_are_divided_as_they_were_for_training(
    by_pixels: bool, trained: TrainResult, pictures: Path, tmp_path: Path
) -> None:
    for path in sorted(pictures.rglob("*.png")):
        Image.open(path).save(path.with_name(f"{path.stem} again.png"), compress_level=0)
    dataset = open_dataset(str(pictures))
    contents = contents_of(look(dataset.parts), TRAIN) if by_pixels else None  # as older releases did
    splits = split(dataset, contents=contents)
    assert (splits.sha256 == split(dataset).sha256) is not by_pixels
    folder = Path(shutil.copytree(trained.folder, tmp_path / "out" / "trees"))
    record = dataclasses.replace(trained.config.dataset, split_sha256=splits.sha256, labels_sha256=splits.labels_sha256)
    rewrite(folder, dataset=record)
    request = ask(trained, folder=folder, dataset=str(pictures))
    part, _ = open_split(request, adapters.read_config(folder), PixelCache(trained.config.preprocess), silent)
    assert splits.test is not None
    assert part.names == splits.test.names


def test_labels_that_changed_are_refused_where_training_recorded_them(trained: TrainResult, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "trees"))
    pictures = find_dataset(trained.config, None, None)[0]
    rewrite(folder, dataset=dataclasses.replace(trained.config.dataset, labels_sha256="a" * 64))
    with pytest.raises(DatasetError, match=r"the images that 'trees' was trained on, but labels of some .* changed"):
        evaluate_task(ask(trained, folder=folder, dataset=pictures))
    rewrite(folder, dataset=dataclasses.replace(trained.config.dataset, labels_sha256=""))  # as it was trained before
    assert evaluate_task(ask(trained, folder=folder, dataset=pictures)).measure.scores.images == 6


def test_the_backbone_must_be_the_one_it_was_trained_on(trained: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="--allow-random-backbone"):
        evaluate_task(ask(trained, allow_random=False))
    folder = Path(shutil.copytree(trained.folder, tmp_path / "trees"))
    rewrite(folder, backbone=dataclasses.replace(trained.config.backbone, sha256="a" * 64))
    pictures = find_dataset(trained.config, None, None)[0]
    with pytest.raises(BackboneError, match=r"expected aaaaaaaaaaaa\.\.\."):
        evaluate_task(ask(trained, folder=folder, dataset=pictures))


@pytest.mark.parametrize(("name", "value"), [("rank", 3), ("blocks", [6]), ("blocks", [6, 7])])
def test_a_config_that_does_not_fit_its_tensors_is_refused(
    trained: TrainResult, tmp_path: Path, name: str, value: Any
) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "trees"))
    config = json.loads((folder / adapters.CONFIG_NAME).read_text())
    config["task"]["adapter"][name] = value
    (folder / adapters.CONFIG_NAME).write_text(json.dumps(config))
    with pytest.raises(
        FormatError, match=r"adapter_config\.json: .* are not those that adapter_model\.safetensors was trained"
    ):
        evaluate_task(ask(trained, folder=folder))


def test_a_folder_that_is_absent_is_refused(trained: TrainResult, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such adapter folder"):
        evaluate_task(ask(trained, folder=tmp_path / "none"))
