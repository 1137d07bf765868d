"""train.reevaluate: the same split gives the same scores, and other data, weights or files are refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core.errors import BackboneError, DatasetError, FormatError, UsageError
from adaptertune_deploy.data.whereabouts import find_dataset
from adaptertune_deploy.train.recipe import Recipe
from adaptertune_deploy.train.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task
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
    config, adapter = adapters.read_adapter(folder)
    config = dataclasses.replace(config, **changes)
    digest = adapters.write_tensors(folder, adapter.tensors, config.identity)
    adapters.write_config(folder, dataclasses.replace(config, tensors_sha256=digest))


@pytest.mark.parametrize(("split", "images"), [("", 6), ("test", 6), ("val", 3), ("train", 21)])
def test_each_split_is_the_one_that_training_made(trained: TrainResult, split: str, images: int) -> None:
    result = evaluate_task(ask(trained, split=split))
    assert result.split == (split or "test")
    assert result.scores.images == images
    if result.split == "test":
        assert result.scores.loss == trained.measured.adapter.loss
    else:
        assert result.scores.loss != trained.measured.adapter.loss
    assert any("held out as test" in note for note in result.notes)


def test_the_data_may_have_moved(trained: TrainResult, pictures: Path) -> None:
    assert evaluate_task(ask(trained, dataset=str(pictures))).scores.loss == trained.measured.adapter.loss


def test_progress_is_reported(trained: TrainResult) -> None:
    seen: list[tuple[str, int, int]] = []
    evaluate_task(ask(trained), lambda *step: seen.append(step))
    assert seen == [("evaluate on test", 1, 1)]


def test_the_stored_preprocessing_is_used(trained: TrainResult, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.folder, tmp_path / "trees"))
    rewrite(folder, preprocess=dataclasses.replace(trained.config.preprocess, mean=(0.9, 0.9, 0.9)))
    pictures = find_dataset(trained.config, None, None)[0]
    assert evaluate_task(ask(trained, folder=folder, dataset=pictures)).scores.loss != trained.measured.adapter.loss


@pytest.mark.parametrize("split", ["validation", "all"])
def test_a_split_that_does_not_exist_is_refused(trained: TrainResult, split: str) -> None:
    with pytest.raises(UsageError, match=f"--split {split}: dataset .* has train, val, test"):
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
    with pytest.raises(DatasetError, match=r"splits otherwise than when 'trees' was trained .*: images came or went"):
        evaluate_task(ask(trained, dataset=str(pictures)))


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
