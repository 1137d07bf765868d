"""What is found before any work, and every way in which a run must end without an artefact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.errors import AtdError, BackboneError, DatasetError, TrainingError, UsageError
from adaptertune_deploy.model import adapted
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.train import trainer
from adaptertune_deploy.train.comparison import candidates, measuring
from adaptertune_deploy.train.loop.fit import Fit
from adaptertune_deploy.train.request.preflight import check_train
from adaptertune_deploy.train.resume.checkpoint import Checkpoints
from adaptertune_deploy.train.resume.claim import claimed
from adaptertune_deploy.train.resume.state_file import State
from adaptertune_deploy.train.resume.stopped import folder_of
from adaptertune_deploy.train.trainer import train_task
from tests.builders import write_adapter
from tests.train.runs import make_pictures
from tests.train.trainer.trainings import RECIPE, ask


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


def test_what_cannot_be_had_is_found_before_any_work(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        measuring, "frozen_features", lambda *_: pytest.fail("work began before everything was checked")
    )
    single = make_pictures(tmp_path / "single" / "trees", 1)
    assert "is neither a dataset nor a folder" in refused(UsageError, dataset="nowhere")
    assert "--allow-random-backbone" in refused(BackboneError, allow_random=False)
    assert "no such weights file" in refused(BackboneError, backbone="vit_tiny_patch16_224", weights=tmp_path / "none")
    assert "too small to hold images back" in refused(DatasetError, dataset=str(single))
    assert "K from 1 to 8" in refused(UsageError, recipe=dataclasses.replace(RECIPE, placement="last:9"))


@pytest.mark.parametrize("resume", [False, True])
def test_a_task_that_is_being_trained_there_is_refused_before_anything_is_taken_over(
    resume: bool, tiny: None, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / ".trees.log").mkdir()
    kept = Checkpoints(folder_of(tmp_path, "trees"), {}, 60.0)
    kept.save("fold 1", State(1, 2, {"losses": np.zeros(1, np.float32)}, (), 2))
    request = ask(pictures, tmp_path, log=("csv",), resume=resume)
    with claimed(tmp_path, "trees"):
        before = sorted(tmp_path.rglob("*"))
        for start in (check_train, train_task):
            with pytest.raises(UsageError, match=r"task 'trees' is being trained into .* by another process; wait"):
                start(request)
        assert sorted(tmp_path.rglob("*")) == before


def test_what_the_preflight_says_is_not_said_again(tiny: None, pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "trees")
    request = ask(pictures, tmp_path)
    before = check_train(request)
    assert len(before) == 2  # what is replaced, and the backbone
    assert not set(before) & set(train_task(request).notes)


def test_weights_that_cannot_be_downloaded_leave_nothing(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model

    def offline(*args: Any, pretrained: bool = False, **given: Any) -> Any:
        if pretrained:
            raise ConnectionError("offline\nvery")
        return create(*args, **given)

    monkeypatch.setattr(timm, "create_model", offline)
    assert "could not download them (offline)" in refused(BackboneError, backbone="deit_tiny_patch16_224")


def test_the_dataset_itself_is_never_replaced_by_its_adapter(pictures: Path) -> None:
    with pytest.raises(UsageError, match="trees exists and is no adapter folder"):
        train_task(ask(pictures, pictures.parent))
    assert len(list(pictures.rglob("*.png"))) == 42


def test_a_backbone_that_changes_while_training_leaves_nothing(
    refused: Callable[..., str], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = candidates.fit

    def tampering(model: AdaptedViT, *rest: Any) -> Fit:
        result = fit(model, *rest)
        model.backbone.blocks[0].norm1.bias.data[0] += 1e-4
        return result

    monkeypatch.setattr(candidates, "fit", tampering)
    assert "the frozen backbone changed while training" in refused(TrainingError)


def test_adapters_that_get_no_gradient_leave_nothing(
    refused: Callable[..., str], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapted, "residual", lambda x, adapter: x + adapter(x.detach()).detach())
    assert "the adapter after block 1 got no gradient in the first step" in refused(TrainingError)


def test_a_start_that_is_not_exact_leaves_nothing(
    refused: Callable[..., str], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = Adapter.forward
    monkeypatch.setattr(Adapter, "forward", lambda self, x: forward(self, x) + 1e-6)
    assert "before the first step the adapted features differ" in refused(TrainingError)


def test_a_loss_that_is_not_finite_leaves_nothing(
    refused: Callable[..., str], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda logits, *_, **__: logits.sum() * float("nan"))
    assert "the training loss became nan by step 1 of 3" in refused(TrainingError)


def test_a_further_seed_that_fails_leaves_nothing(
    refused: Callable[..., str], tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cross_validate, calls = trainer.cross_validate, []

    def failing(*given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise TrainingError("the second seed failed")
        return cross_validate(*given)

    monkeypatch.setattr(trainer, "cross_validate", failing)
    assert refused(TrainingError, recipe=dataclasses.replace(RECIPE, seeds=3)) == "the second seed failed"
    assert len(calls) == 2


@pytest.mark.parametrize("stage", ["linear probe", "fold 2 of 2", "all images", "test adapter"])
def test_an_interrupted_run_leaves_the_old_folder(tiny: None, stage: str, pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "trees", seed=5)
    before = (tmp_path / "trees" / adapters.MODEL_NAME).read_bytes()

    def interrupt(what: str, done: int, total: int) -> None:
        if what == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_task(ask(pictures, tmp_path), interrupt)
    assert (tmp_path / "trees" / adapters.MODEL_NAME).read_bytes() == before
    kept = [] if stage == "linear probe" else [".trees.checkpoint"]  # of the trainings that were finished before
    assert sorted(path.name for path in tmp_path.iterdir()) == [*kept, "trees"]
