"""train.prepare: what is refused before any work, in which order, and what is settled for the run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from adaptertune_deploy.core.errors import AtdError, BackboneError, DatasetError, UsageError
from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.core.spec import HEAD_ONLY, AdapterSpec
from adaptertune_deploy.data.pixels import cache as decoding
from adaptertune_deploy.model.backbone import weights_sha256
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.prepare import prepare
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.run import Run
from tests.builders import make_backbone_spec, make_task, write_adapter
from tests.train.runs import RECIPE, draw, make_pictures

BACKBONE = "vit_pico_patch8_64.random"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", {"train": 6, "val": 2, "test": 3})


def ask(pictures: Path, out: Path, recipe: Recipe = RECIPE, **changes: Any) -> TrainRequest:
    return TrainRequest(str(pictures), BACKBONE, out, recipe, **{"allow_random": True, **changes})


def prepared(pictures: Path, out: Path, recipe: Recipe = RECIPE, **changes: Any) -> Run:
    return prepare(ask(pictures, out, recipe, **changes), silent)


def test_a_run_holds_what_was_asked_for_and_writes_nothing(pictures: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, rank=3, alpha=0.5, placement="last:2")
    run = prepared(pictures, tmp_path / "out", recipe, task="woods")
    assert (run.task.name, run.task.labels, run.task.temperature) == ("woods", ("ash", "elm", "oak"), 1.0)
    assert run.task.adapter == AdapterSpec(3, 0.5, (6, 7))
    assert run.backbone.spec.sha256 == weights_sha256(run.backbone.module)
    assert run.pixels.spec == run.backbone.preprocess
    assert list(tmp_path.iterdir()) == []


def test_every_image_that_is_no_test_image_trains(pictures: Path, tmp_path: Path) -> None:
    run = prepared(pictures, tmp_path)
    assert {name.split("/")[0] for name in run.splits.train.names} == {"train", "val"}
    assert {name.split("/")[0] for name in run.test.names} == {"test"}
    assert (len(run.splits.train), len(run.test), run.splits.rule) == (24, 9, "official")
    assert run.notes == (
        f"licence of {pictures}: {run.dataset.licence}",
        "the 6 official validation images train too",
    )


def test_everything_follows_the_image_size_that_was_asked_for(pictures: Path, tmp_path: Path) -> None:
    run = prepared(pictures, tmp_path / "out", image_size=(96, 64))
    assert run.backbone.spec.image_size == run.backbone.preprocess.size == run.pixels.spec.size == (96, 64)
    assert next(iter(run.training_images())).images.shape[1:] == (3, 96, 64)
    assert run.frozen_sha256 == weights_sha256(run.backbone.module) != run.backbone.spec.sha256
    assert f"{BACKBONE} takes images of 96 x 64 pixels here, its own are 64 x 64" in run.notes


def test_the_image_size_of_the_tasks_beside_it_is_taken_over(pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "birds", make_task("birds"), make_backbone_spec(name=BACKBONE, image_size=(32, 32)))
    assert prepared(pictures, tmp_path).backbone.spec.image_size == (32, 32)


def test_a_size_that_does_not_fit_is_refused_before_the_images_are_read(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "open_dataset", None)
    with pytest.raises(BackboneError, match=r"patches of 8 pixels, so it can't take 60; give --image-size 56 or 64"):
        prepared(pictures, tmp_path / "out", image_size=(60, 60))


@pytest.mark.parametrize(("folds", "expected"), [(0, 3), (1, 1), (4, 4)])
def test_what_was_left_open_is_settled(folds: int, expected: int, pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe(rank=2, batch_size=500, folds=folds, device="cpu")
    found = prepared(pictures, tmp_path, recipe).recipe
    assert (found.folds, found.batch_size, found.workers, found.device) == (expected, 24, 0, "cpu")
    assert found.precision in ("fp32", "bf16")
    unchanged = {"folds", "batch_size", "workers", "device", "precision"}
    for field in dataclasses.fields(Recipe):
        assert field.name in unchanged or getattr(found, field.name) == getattr(recipe, field.name)


@pytest.mark.parametrize(
    ("workers", "device", "expected"), [(-1, "cpu", 0), (3, "cpu", 3), (0, "cuda", 0), (5, "cuda", 5)]
)
def test_a_cpu_reads_images_in_the_training_process(workers: int, device: str, expected: int) -> None:
    chosen = Device(torch.device(device), "fp32")
    assert preparing._workers(dataclasses.replace(RECIPE, workers=workers), chosen) == expected
    assert 1 <= preparing._workers(Recipe(), Device(torch.device("cuda"), "fp32")) <= 8


def test_the_augmentation_that_is_asked_for_is_the_one_that_trains(pictures: Path, tmp_path: Path) -> None:
    assert prepared(pictures, tmp_path).dataset.augment == "small"
    asked = prepared(pictures, tmp_path, dataclasses.replace(RECIPE, augment="signs"))
    assert asked.dataset.augment == "signs"


def test_rank_0_has_no_adapters_and_needs_no_images_to_augment(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    fill = decoding.PixelCache.fill

    def watched(self: decoding.PixelCache, split: Any, *, reduced: bool = False, **options: Any) -> dict[str, str]:
        asked.append(reduced)
        return fill(self, split, reduced=reduced, **options)

    monkeypatch.setattr(decoding.PixelCache, "fill", watched)
    assert prepared(pictures, tmp_path, dataclasses.replace(RECIPE, rank=0)).task.adapter == HEAD_ONLY
    assert asked == [False, False, False]
    asked.clear()
    prepared(pictures, tmp_path)
    assert asked == [True, True, False]  # training and validation images are augmented, test images never


# Notes.


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("balanced", "every class counts the same; --class-weights none lets every image count the same"),
        ("none", "every image counts the same, as --class-weights none asks; rare classes may never be named"),
    ],
)
def test_classes_of_unequal_size_are_said_with_what_follows(rule: str, said: str, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", 6)
    for number in range(6, 12):
        Image.fromarray(draw(0, number)).save(folder / "ash" / f"{number:02d}.png")
    run = prepared(folder, tmp_path / "out", dataclasses.replace(RECIPE, class_weights=rule))
    assert f"the classes differ in size: {said}" in run.notes


def test_equal_classes_need_no_word(pictures: Path, tmp_path: Path) -> None:
    assert not any("classes differ" in note for note in prepared(pictures, tmp_path).notes)


def test_other_weights_than_those_of_the_tasks_beside_it_are_said(pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "birds", make_task("birds"), make_backbone_spec(name=BACKBONE))
    notes = prepared(pictures, tmp_path).notes
    assert notes[0].startswith("licence of ")
    assert notes[1].startswith(f"{tmp_path / 'birds'} has other weights of {BACKBONE} (sha256 bbbbbbbbbbbb...")


def test_bad_images_are_refused_or_left_out_by_name(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 4, "test": 2})
    (folder / "train" / "ash" / "00.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"train/ash/00\.png: .*leave it out with --skip-bad"):
        prepared(folder, tmp_path / "out")
    run = prepared(folder, tmp_path / "out", skip_bad=True)
    assert "1 image can't be used and was left out: train/ash/00.png" in run.notes
    assert len(run.splits.train) == 11


def test_copies_of_the_same_pixels_are_on_one_side_of_the_test_and_of_every_fold(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", 8)
    for path in sorted(folder.rglob("*.png")):
        Image.open(path).save(path.with_name(f"{path.stem} again.png"), compress_level=0)
    run = prepared(folder, tmp_path / "out")
    sides = [{name.replace(" again", "") for name in part.names} for part in (run.splits.train, run.test)]
    assert not sides[0] & sides[1]
    assert (2 * len(sides[0]), 2 * len(sides[1])) == (len(run.splits.train), len(run.test))
    assert run.copies.leaked == ()
    of = dict(zip(run.splits.train.names, zip(run.contents, run.fold(2, "gate").tolist(), strict=True), strict=True))
    assert len({content for content, _ in of.values()}) == len(sides[0])
    assert all(of[name] == of[name.replace(".png", " again.png")] for name in of if "again" not in name)


def test_a_cache_that_can_not_be_written_is_said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "file"))
    assert "decoded images can't be kept in" in prepared(pictures, tmp_path / "out").notes[-1]


# Refusals.


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (BackboneError, {"backbone": "resnet50"}, "'resnet50.a1_in1k' is not a Vision Transformer"),
        (BackboneError, {"backbone": "deit_tny"}, "Did you mean 'deit_tiny_patch16_224'?"),
        (UsageError, {"recipe": dataclasses.replace(RECIPE, placement="last:9")}, "K from 1 to 8"),
        (UsageError, {"dataset": "nowhere"}, "is neither a dataset nor a folder"),
        (UsageError, {"recipe": dataclasses.replace(RECIPE, device="cuda:77")}, "--device cuda:77"),
    ],
)
def test_what_will_not_do_is_found_before_the_dataset_is_fetched(
    kind: type[AtdError],
    changes: dict[str, Any],
    message: str,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(preparing, "open_dataset", lambda *_: pytest.fail("the dataset was opened"))
    with pytest.raises(kind) as caught:
        prepare(dataclasses.replace(ask(pictures, tmp_path), **changes), silent)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dataset_that_is_too_small_to_hold_anything_back_is_refused(tmp_path: Path) -> None:
    single = make_pictures(tmp_path / "trees", 1)
    with pytest.raises(DatasetError, match=r"is too small to hold images back, so nothing could be measured; add"):
        prepared(single, tmp_path / "out")


def test_random_weights_need_leave(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="--allow-random-backbone"):
        prepared(pictures, tmp_path, allow_random=False)
