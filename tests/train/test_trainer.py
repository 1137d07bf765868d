"""train.trainer: whole runs on a folder of small pictures, and every way in which one must end without an artefact."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import samples
from adaptertune_deploy.core.errors import AtdError, BackboneError, DatasetError, TrainingError, UsageError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.fit import Epoch, Fit
from adaptertune_deploy.train.preflight import check_train
from adaptertune_deploy.train.probe import FALLBACK_PENALTY, PENALTIES
from adaptertune_deploy.train.recipe import Recipe
from adaptertune_deploy.train.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.builders import make_backbone_spec, make_task, write_adapter
from tests.train.runs import make_pictures

BACKBONE = "vit_pico_patch8_64.random"
RECIPE = Recipe(rank=2, placement="last:2", epochs=2, batch_size=8, lr=5e-3, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", 14)


def ask(pictures: Path, out: Path, recipe: Recipe = RECIPE, **changes: Any) -> TrainRequest:
    return TrainRequest(str(pictures), BACKBONE, out, recipe, **{"allow_random": True, **changes})


@pytest.fixture(scope="module")
def result(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    return train_task(ask(pictures, tmp_path_factory.mktemp("out")))


# What a run makes.


def test_the_artefact_says_what_was_trained_on_what(result: TrainResult, pictures: Path) -> None:
    config = adapters.read_config(result.folder)
    assert config == result.config
    assert (config.task.name, config.task.labels) == ("trees", ("ash", "elm", "oak"))
    shape = config.task.adapter
    assert (shape.rank, shape.alpha, shape.blocks) == (2, 1.0, (6, 7))
    assert config.backbone == load_backbone(BACKBONE, allow_random=True).spec
    assert config.backbone.name.endswith(".random")
    assert config.preprocess.size == (64, 64)
    assert (config.dataset.name, config.dataset.val_split) == (".../trees", "stratified:0.1")
    assert (config.dataset.train, config.dataset.val, config.dataset.test) == (31, 3, 8)


def test_the_report_holds_the_proofs_of_the_run(result: TrainResult) -> None:
    facts = json.loads((result.folder / "report" / "report.json").read_text())
    frozen = load_backbone(BACKBONE, allow_random=True)
    assert facts["proofs"] == {
        "start_is_exact": True,
        "start_images": 8,
        "frozen_tensors": len(frozen.module.state_dict()),
        "frozen_sha256": frozen.spec.sha256,
        "adapters_with_gradient": 2,
    }
    assert facts["recipe"] == {**dataclasses.asdict(RECIPE), "workers": 0, "augment": "small"}
    trained = 2 * (2 * 128 * 2 + 2 + 128) + 3 * (128 + 1)
    assert facts["parameters"] == {
        "trainable": trained,
        "frozen": sum(value.numel() for value in frozen.module.parameters()),
    }
    assert len(facts["history"]) == 2
    assert facts["split"] == "test"


def test_the_scores_are_those_of_the_weights_that_were_written(result: TrainResult) -> None:
    again = evaluate_task(EvaluateRequest(result.folder, device="cpu", allow_random=True))
    assert again.split == "test"
    assert again.scores.loss == result.measured.adapter.loss == result.config.metrics["test_loss"]
    assert again.scores.top1 == result.measured.adapter.top1 == result.config.metrics["test_top1"]
    np.testing.assert_array_equal(again.scores.confusion, result.measured.adapter.confusion)
    assert result.measured.head_only.loss != result.measured.adapter.loss


def test_what_was_left_open_is_reported_as_it_ran(pictures: Path, tmp_path: Path) -> None:
    recipe = Recipe(rank=2, placement="last:1", batch_size=500)
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(recipe, device="cpu")))
    ran = json.loads((result.folder / "report" / "report.json").read_text())["recipe"]
    assert (ran["epochs"], ran["batch_size"], ran["workers"], ran["device"]) == (20, 31, 0, "cpu")
    assert ran["precision"] == result.measured.precision in ("fp32", "bf16")
    assert len(result.measured.fit.history) == 20
    assert "| epochs | 20, epoch " in (result.folder / "README.md").read_text()


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
    assert evaluate_task(request).scores.loss == result.measured.adapter.loss
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(UsageError, match=r"was trained on the images in \.\.\./trees, .*; name it: --dataset FOLDER"):
        evaluate_task(request)
    again = evaluate_task(dataclasses.replace(request, dataset=str(pictures)))
    assert again.scores.loss == result.measured.adapter.loss


def test_the_licence_and_the_notes_are_told_before_any_work(
    result: TrainResult, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(trainer, "fit_probe", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_task(ask(pictures, tmp_path), tell=told.append)
    assert tuple(told) == result.notes
    assert told[0] == f"licence of {pictures}: {result.config.dataset.licence}"
    assert told[1:] == ["there is no test split, so 8 of 42 training images are held out as test, stratified"]


def test_the_kept_epoch_is_the_one_that_is_tested_and_written(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validated: list[dict[str, np.ndarray]] = []
    outputs = trainer.outputs

    def worse_and_worse(model: AdaptedViT, val: Any, device: Any, what: str) -> Any:
        validated.append(model.export_tensors())
        logits, targets = outputs(model, val, device, what)
        return logits / len(validated) ** 4, targets

    monkeypatch.setattr("adaptertune_deploy.train.fit.outputs", worse_and_worse)
    recipe = dataclasses.replace(RECIPE, epochs=3)
    result = train_task(ask(pictures, tmp_path, recipe))
    best = result.measured.fit.best_epoch
    _, written = adapters.read_adapter(result.folder)
    assert best < 2
    for name, value in written.tensors.items():
        np.testing.assert_array_equal(value, validated[best][name])
    assert any(not np.array_equal(value, validated[-1][name]) for name, value in written.tensors.items())


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
    recipe = dataclasses.replace(RECIPE, epochs=1, placement="all")
    out = tmp_path / "out"
    first = train_task(TrainRequest(str(pictures), name, out, recipe, task="first", weights=tmp_path / "weights.pth"))
    (tmp_path / "weights.pth").unlink()
    second = train_task(TrainRequest(str(pictures), None, out, recipe, task="second"))
    assert second.config.backbone == first.config.backbone
    assert not any("other weights" in note for note in second.notes)
    assert "base_model" not in (second.folder / "README.md").read_text()


def test_other_weights_than_those_of_the_tasks_beside_it_are_said(pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "birds", make_task("birds"), make_backbone_spec(name=BACKBONE))
    told: list[str] = []
    train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, epochs=1)), tell=told.append)
    assert told[0].startswith("licence of ")
    assert told[1].startswith(f"{tmp_path / 'birds'} has other weights of {BACKBONE} (sha256 bbbbbbbbbbbb...")


def test_what_the_preflight_says_is_not_said_again(pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "trees")
    request = ask(pictures, tmp_path, dataclasses.replace(RECIPE, epochs=1))
    before = check_train(request)
    assert len(before) == 2  # what is replaced, and the backbone
    assert not set(before) & set(train_task(request).notes)


def test_equal_seeds_give_equal_files_and_another_seed_the_same_split(
    result: TrainResult, pictures: Path, tmp_path: Path
) -> None:
    torch.manual_seed(99)
    again = train_task(ask(pictures, tmp_path / "again"))
    other = train_task(ask(pictures, tmp_path / "other", dataclasses.replace(RECIPE, seed=1)))
    assert again.config.tensors_sha256 == result.config.tensors_sha256
    assert other.config.tensors_sha256 != result.config.tensors_sha256
    assert other.config.dataset == result.config.dataset


def test_a_run_starts_at_the_linear_probe(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "fit", lambda *_: Fit((Epoch(0, 0.0, 1.0, 1.0, 0.0),), 0, 2))
    result = train_task(ask(pictures, tmp_path))
    assert result.measured.adapter.loss == pytest.approx(result.measured.head_only.loss, abs=1e-5)
    np.testing.assert_array_equal(result.measured.adapter.confusion, result.measured.head_only.confusion)
    _, start = adapters.read_adapter(result.folder)
    assert {name for name, value in start.tensors.items() if not value.any()} == {
        adapters.tensor_name(block, side, kind)
        for block in (6, 7)
        for side, kind in (("down", "bias"), ("up", "weight"), ("up", "bias"))
    }


def test_every_stage_reports_its_progress(pictures: Path, tmp_path: Path) -> None:
    seen: dict[str, list[tuple[int, int]]] = {}
    train_task(ask(pictures, tmp_path), lambda what, done, total: seen.setdefault(what, []).append((done, total)))
    assert list(seen) == [
        "frozen features of train",
        "frozen features of val",
        "head alone",
        "frozen features of test",
        "decoding training images",
        "train, epoch 1/2",
        "train, epoch 2/2",
        "test adapter on test",
    ]
    assert seen["head alone"][-1] == (len(PENALTIES), len(PENALTIES))  # chosen on the validation images
    assert all(steps[-1][0] == steps[-1][1] for what, steps in seen.items() if what != "train, epoch 1/2")


def test_an_untagged_backbone_is_named_in_the_notes(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model
    small = {"depth": 1, "embed_dim": 12, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: create(*args, **{**small, **given}))
    torch.save(timm.create_model("deit_tiny_patch16_224").state_dict(), tmp_path / "weights.pth")
    recipe = dataclasses.replace(RECIPE, epochs=1, placement="all")
    request = ask(pictures, tmp_path / "out", recipe, weights=tmp_path / "weights.pth")
    result = train_task(dataclasses.replace(request, backbone="deit_tiny_patch16_224", allow_random=False))
    assert result.config.backbone.name == "deit_tiny_patch16_224.fb_in1k"
    assert "using timm's default, deit_tiny_patch16_224.fb_in1k" in result.notes[1]
    (tmp_path / "weights.pth").unlink()  # what was given once is found again
    again = evaluate_task(EvaluateRequest(result.folder, device="cpu"))
    assert again.scores.loss == result.measured.adapter.loss


# Small datasets.


def test_without_a_validation_split_the_last_epoch_counts(pictures: Path, tmp_path: Path) -> None:
    result = train_task(ask(pictures, tmp_path, val_split="none"))
    assert result.measured.fit.best_epoch == 1
    assert result.measured.penalty == FALLBACK_PENALTY
    assert (result.config.dataset.val_split, result.config.dataset.val) == ("none", 0)
    assert json.loads((result.folder / "report" / "report.json").read_text())["history"][0]["val_loss"] is None


def test_three_images_are_enough(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "few", 1, ("ash", "elm"))
    (folder / "elm" / "00.png").rename(folder / "elm" / "b.png")
    make_pictures(tmp_path / "more", 1, ("elm",))
    (tmp_path / "more" / "elm" / "00.png").rename(folder / "elm" / "a.png")
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.config.dataset.train, result.config.dataset.val, result.config.dataset.test) == (2, 0, 1)
    assert result.measured.adapter.images == 1


def test_without_a_test_split_validation_is_what_is_reported(tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 1, "val": 3})
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.measured.split, result.measured.adapter.images) == ("val", 9)
    assert set(result.config.metrics) == {"val_top1", "val_top1_head_only", "val_loss", "val_loss_head_only"}
    assert evaluate_task(EvaluateRequest(result.folder, device="cpu", allow_random=True)).split == "val"


# Runs that must not leave an artefact.


@pytest.fixture
def refused(pictures: Path, tmp_path: Path) -> Callable[..., str]:
    """Run beside an older adapter of the same name; returns the error after checking that all is as before."""

    def run(kind: type[AtdError], **changes: Any) -> str:
        out = tmp_path / "out"
        write_adapter(out / "trees")
        before = {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}
        with pytest.raises(kind) as caught:
            train_task(dataclasses.replace(ask(pictures, out), **changes))
        assert {path: path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()} == before
        assert [path.name for path in out.iterdir()] == ["trees"]
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return run


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "fit_probe", lambda *_, **__: pytest.fail("work began before everything was checked"))


def test_what_cannot_be_had_is_found_before_any_work(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_training(monkeypatch)
    single = make_pictures(tmp_path / "single" / "trees", 1)
    assert "is neither a dataset nor a folder" in refused(UsageError, dataset="nowhere")
    assert "--allow-random-backbone" in refused(BackboneError, allow_random=False)
    assert "no such weights file" in refused(BackboneError, backbone="vit_tiny_patch16_224", weights=tmp_path / "none")
    assert "--val-split" in refused(UsageError, val_split="half")
    assert "too small to hold images back" in refused(DatasetError, dataset=str(single))
    assert "K from 1 to 8" in refused(UsageError, recipe=dataclasses.replace(RECIPE, placement="last:9"))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (BackboneError, {"backbone": "resnet50"}, "'resnet50.a1_in1k' is not a Vision Transformer"),
        (BackboneError, {"backbone": "deit_tny"}, "Did you mean 'deit_tiny_patch16_224'?"),
        (UsageError, {"recipe": dataclasses.replace(RECIPE, placement="last:9")}, "K from 1 to 8"),
    ],
)
def test_a_backbone_that_will_not_do_is_found_before_the_dataset_is_fetched(
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    kind: type[AtdError],
    changes: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr(trainer, "open_dataset", lambda *_: pytest.fail("the dataset was opened"))
    assert message in refused(kind, **changes)


def test_weights_that_cannot_be_downloaded_leave_nothing(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_training(monkeypatch)

    create = timm.create_model

    def offline(*args: Any, pretrained: bool = False, **given: Any) -> Any:
        if pretrained:
            raise ConnectionError("offline\nvery")
        return create(*args, **given)

    monkeypatch.setattr(timm, "create_model", offline)
    assert "could not download them (offline)" in refused(BackboneError, backbone="deit_tiny_patch16_224")


def test_the_dataset_itself_is_never_replaced_by_its_adapter(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_training(monkeypatch)
    with pytest.raises(UsageError, match="trees exists and is no adapter folder"):
        train_task(ask(pictures, pictures.parent))
    assert len(list(pictures.rglob("*.png"))) == 42


def test_a_backbone_that_changes_while_training_leaves_nothing(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = trainer.fit

    def tampering(model: AdaptedViT, *rest: Any) -> Fit:
        result = fit(model, *rest)
        model.backbone.blocks[3].norm1.bias.data[0] += 1e-4
        return result

    monkeypatch.setattr(trainer, "fit", tampering)
    assert "the frozen backbone changed while training" in refused(TrainingError)


def test_adapters_that_get_no_gradient_leave_nothing(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, x: forward(self, x.detach()).detach())
    assert "the adapter after block 6 got no gradient in the first step" in refused(TrainingError)


def test_a_start_that_is_not_exact_leaves_nothing(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, x: forward(self, x) + 1e-6)
    assert "before the first step the adapted features differ" in refused(TrainingError)


def test_a_loss_that_is_not_finite_leaves_nothing(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda logits, *_, **__: logits.sum() * float("nan"))
    assert "the training loss became nan in epoch 1" in refused(TrainingError)


def test_an_interrupted_run_leaves_the_old_folder(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_adapter(tmp_path / "trees", seed=5)
    before = (tmp_path / "trees" / adapters.MODEL_NAME).read_bytes()

    def interrupt(what: str, done: int, total: int) -> None:
        if what.startswith("train, epoch 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_task(ask(pictures, tmp_path), interrupt)
    assert (tmp_path / "trees" / adapters.MODEL_NAME).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["trees"]


# How it runs.


def test_a_gpu_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Some GPU at {device}")
    assert trainer._processor(trainer.Device(torch.device("cuda:1"), "bf16")) == "Some GPU at cuda:1"


@pytest.mark.parametrize(
    ("workers", "device", "expected"), [(-1, "cpu", 0), (3, "cpu", 3), (0, "cuda", 0), (5, "cuda", 5)]
)
def test_a_cpu_reads_images_in_the_training_process(workers: int, device: str, expected: int) -> None:
    chosen = trainer.Device(torch.device(device), "fp32")
    assert trainer._workers(dataclasses.replace(RECIPE, workers=workers), chosen) == expected
    assert 1 <= trainer._workers(RECIPE, trainer.Device(torch.device("cuda"), "fp32")) <= 8


def test_bf16_trains_in_bf16_and_is_measured_in_float32(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, torch.dtype]] = []
    forward = Adapter.forward

    def watched(self: Adapter, x: torch.Tensor) -> torch.Tensor:
        result = forward(self, x)
        seen.append((torch.is_grad_enabled(), result.dtype))
        return result

    monkeypatch.setattr(Adapter, "forward", watched)
    result = train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, epochs=1, precision="bf16")))
    assert {dtype for learning, dtype in seen if learning} == {torch.bfloat16}
    assert seen[0] == (False, torch.float32)  # the proof of the exact start
    assert seen[-1] == (False, torch.float32)  # the test
    assert result.measured.precision == "bf16"
    monkeypatch.setattr(Adapter, "forward", forward)
    again = evaluate_task(EvaluateRequest(result.folder, device="cpu", allow_random=True))
    assert again.scores.loss == result.measured.adapter.loss


@pytest.mark.slow
def test_real_pets_are_learned_and_measured_again_with_the_same_scores(shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "deit_tiny_patch16_224.fp16.safetensors"
    request = TrainRequest(
        "pets",
        "deit_tiny_patch16_224",
        tmp_path,
        Recipe(epochs=1, device="cpu"),
        data_dir=shared_data / "pets-3breeds",
        weights=weights,
    )
    result = train_task(request)
    assert (result.config.dataset.train, result.config.dataset.test) == (265, 150)
    assert result.measured.trainable == 39_264 + 3 * 193
    assert result.measured.head_only.top1 > 0.9
    assert result.measured.adapter.top1 > 0.9
    again = evaluate_task(EvaluateRequest(result.folder, data_dir=shared_data / "pets-3breeds", device="cpu"))
    assert again.scores.loss == result.measured.adapter.loss
