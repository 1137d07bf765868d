"""train.trainer: whole runs on a folder of small pictures, and every way in which one must end without an artefact."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.adapter.reference import read_reference
from adaptertune_deploy.core.answers.accuracy import recorded
from adaptertune_deploy.core.errors import AtdError, BackboneError, DatasetError, TrainingError, UsageError
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.model import adapted
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.model.names import EMBEDDED_BACKBONE
from adaptertune_deploy.model.reference import torch_logits
from adaptertune_deploy.train import candidates, measuring, trainer
from adaptertune_deploy.train import prepare as preparing
from adaptertune_deploy.train.candidates import Adapted
from adaptertune_deploy.train.fit import Fit
from adaptertune_deploy.train.outcome import artefact, verdict
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from adaptertune_deploy.train.preflight import check_train
from adaptertune_deploy.train.probe.head import fit_head
from adaptertune_deploy.train.rank.search import Found
from adaptertune_deploy.train.recipe import AUTO, AUTO_FAST, Recipe, method_fields
from adaptertune_deploy.train.reevaluate import EvaluateRequest, evaluate_task
from adaptertune_deploy.train.request import TrainRequest
from adaptertune_deploy.train.trainer import TrainResult, train_task
from tests.builders import write_adapter
from tests.model.builders import make_backbone
from tests.train.outcome.measured_values import make_gate, make_rank_choice
from tests.train.runs import draw, make_pictures

BACKBONE = "vit_pico_patch8_64.random"
RECIPE = Recipe(
    rank=2, placement="last:2", epochs=1, batch_size=8, folds=2, lr=5e-3, precision="fp32", device="cpu", workers=0
)
NOTHING_LEARNED = Fit((), 2)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no other module have decoded these pictures before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("data") / "trees", 14)


def ask(pictures: Path, out: Path, recipe: Recipe = RECIPE, **changes: Any) -> TrainRequest:
    return TrainRequest(str(pictures), BACKBONE, out, recipe, **{"allow_random": True, **changes})


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


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the network of tests.model.builders in the backbone's place, and draw no report."""
    replace_backbone(monkeypatch)


def replace_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "load_backbone", lambda *_, **__: make_backbone())
    monkeypatch.setattr(preparing, "backbone_depth", lambda *_: 3)
    monkeypatch.setattr(artefact, "write_report", lambda *_: None)


# What a run makes.


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


def test_what_the_preflight_says_is_not_said_again(tiny: None, pictures: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "trees")
    request = ask(pictures, tmp_path)
    before = check_train(request)
    assert len(before) == 2  # what is replaced, and the backbone
    assert not set(before) & set(train_task(request).notes)


# Which images do what.


def watch_trainings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int], Adapted]]:
    """Return a list that gets every training's name, its rows and what became of it."""
    seen: list[tuple[str, list[int], Adapted]] = []
    fit_adapters = candidates.fit_adapters

    def watched(run: Any, frozen: Any, probe: Any, rows: Any, seed: int, what: str) -> Adapted:
        adapted = fit_adapters(run, frozen, probe, rows, seed, what)
        seen.append((what, rows.tolist(), adapted))
        return adapted

    monkeypatch.setattr(trainer, "fit_adapters", watched)
    monkeypatch.setattr("adaptertune_deploy.train.crossfit.fit_adapters", watched)
    return seen


def test_the_last_training_has_every_image_but_the_tests_and_is_the_one_that_is_written(
    tiny: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 8, "val": 2, "test": 3})
    trainings = watch_trainings(monkeypatch)
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.config.dataset.train, result.config.dataset.test) == (30, 9)  # official validation images too
    assert [what for what, _, _ in trainings] == ["fold 1 of 2", "fold 2 of 2", "all images"]
    held = [sorted(set(range(30)) - set(rows)) for _, rows, _ in trainings]
    assert sorted(held[0] + held[1]) == list(range(30))
    assert held[2] == []
    _, written = adapters.read_adapter(result.folder, ADAPTER)
    expected = trainings[2][2].model.export_tensors()
    assert written.tensors.keys() == expected.keys()
    assert all(np.array_equal(value, expected[name]) for name, value in written.tensors.items())


def test_the_test_images_settle_nothing(tiny: None, tmp_path: Path) -> None:
    """With other test images, and wrong labels on them, the same weights and the same decision come out."""
    results = []
    for name, shift in (("one", 0), ("two", 1)):
        folder = make_pictures(tmp_path / name / "trees", {"train": 10, "test": 3})
        for index, label in enumerate(("ash", "elm", "oak") if shift else ()):
            for number in range(3):
                image = Image.fromarray(draw((index + shift) % 3, 900 + number))
                image.save(folder / "test" / label / f"{number:02d}.png")
        results.append(train_task(ask(folder, tmp_path / name / "out")))
    first, second = results
    assert first.config.tensors_sha256 == second.config.tensors_sha256
    assert first.config.identity == second.config.identity
    assert first.measured.gate == second.measured.gate
    assert first.measured.head.scores.loss != second.measured.head.scores.loss


def test_equal_seeds_give_equal_files_and_another_seed_the_same_split(
    tiny: None, pictures: Path, tmp_path: Path
) -> None:
    first = train_task(ask(pictures, tmp_path / "first"))
    torch.manual_seed(99)
    again = train_task(ask(pictures, tmp_path / "again"))
    other = train_task(ask(pictures, tmp_path / "other", dataclasses.replace(RECIPE, seed=1)))
    assert again.config.tensors_sha256 == first.config.tensors_sha256
    assert again.measured.gate == first.measured.gate
    assert other.config.tensors_sha256 != first.config.tensors_sha256
    assert other.config.dataset == first.config.dataset
    assert other.config.probe == first.config.probe
    assert other.measured.gate != first.measured.gate


def test_a_training_that_learns_nothing_leaves_its_start(
    tiny: None, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def watched(*arguments: Any) -> Any:
        given[:] = arguments
        return fit_head(*arguments)

    monkeypatch.setattr(candidates, "fit", lambda *_: NOTHING_LEARNED)
    monkeypatch.setattr(candidates, "fit_head", watched)
    result = train_task(ask(pictures, tmp_path))
    _, start = adapters.read_adapter(result.folder, ADAPTER)
    assert {name for name, value in start.tensors.items() if not value.any()} == {
        tensor_name(block, side, kind)
        for block in (1, 2)
        for side, kind in (("down", "bias"), ("up", "weight"), ("up", "bias"))
    }
    np.testing.assert_array_equal(start.tensors["head.weight"], fit_head(*given).weight)
    assert len(given[0]) == 34
    assert given[3] == pytest.approx(result.config.probe.penalty / 10)
    assert result.config.recipe is not None
    assert given[3] == result.config.recipe.start_penalty


# Who decides.


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


# Backbones.


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


# Small datasets.


def test_three_images_are_enough(tiny: None, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "few", 1, ("ash", "elm"))
    Image.fromarray(draw(1, 7)).save(folder / "elm" / "07.png")
    result = train_task(ask(folder, tmp_path / "out"))
    assert (result.config.dataset.train, result.config.dataset.test) == (2, 1)
    measured = result.measured
    assert measured.adapter is not None
    assert measured.adapter.scores.images == 1
    assert measured.gate is not None
    assert (measured.gate.images, measured.ships, measured.chosen_by) == (0, HEAD, "gate")
    assert (result.config.probe.temperature, result.config.task.temperature) == (1.0, 1.0)
    assert verdict.ships(measured) == "the head alone ships: there were too few images to compare the two"
    card = (result.folder / "README.md").read_text()
    assert "too few images" in card
    assert result.config.recipe is not None
    assert result.config.recipe.folds == 0  # none was trained, whatever was asked for
    assert "| comparison of the candidates | none |" in card


def test_one_split_is_enough_for_the_gate(tiny: None, tmp_path: Path) -> None:
    folder = make_pictures(tmp_path / "trees", {"train": 40, "test": 2})
    result = train_task(ask(folder, tmp_path / "out", dataclasses.replace(RECIPE, folds=1, batch_size=32)))
    assert result.measured.gate is not None
    assert (result.measured.gate.folds, result.measured.gate.images) == (1, 24)
    assert result.config.recipe is not None
    assert result.config.recipe.folds == 1


def test_a_run_without_a_right_answer_is_written_all_the_same(tiny: None, tmp_path: Path) -> None:
    """The test images' labels are exchanged, so that whoever has learned something is always wrong."""
    folder = tmp_path / "trees"
    for part, count in (("train", 8), ("test", 4)):
        for index, label in enumerate(("ash", "elm")):
            (folder / part / label).mkdir(parents=True)
            colour = 255 * ((index == 0) != (part == "test"))
            for number in range(count):
                flat = np.full((16, 16, 3), (colour, number, 128), dtype=np.uint8)
                Image.fromarray(flat).save(folder / part / label / f"{number}.png")
    result = train_task(ask(folder, tmp_path / "out"))
    assert result.measured.head.scores.top1 == result.config.metrics["test_top1_shipped"] == 0
    assert adapters.read_config(result.folder) == result.config


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


# How it runs.


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


# A run that was stopped.


class Killed(Exception):  # noqa: N818  what a kill looks like from within
    """The process ended here."""


MOMENTS = (
    ("fold 1 of 2", 2, 0),
    ("fold 1 of 2, answers", 1, 1),
    ("fold 2 of 2", 3, 0),
    ("all images", 2, 1),
    ("test adapter", 1, 0),
)


def trained(folder: Path) -> tuple[str, str]:
    """Return what must not depend on a stop: the hash of the tensors, and the answers that were measured."""
    config = adapters.read_config(folder)
    return config.tensors_sha256, json.dumps(config.metrics)


TWICE = dataclasses.replace(RECIPE, seeds=2)


@pytest.fixture(scope="module")
def whole(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return what a run comes to that nobody stopped."""
    with pytest.MonkeyPatch.context() as patched:
        replace_backbone(patched)
        return trained(train_task(ask(pictures, tmp_path_factory.mktemp("whole"), TWICE)).folder)


@pytest.mark.parametrize(("what", "step", "turn"), MOMENTS)
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(
    what: str, step: int, turn: int, pictures: Path, whole: tuple[str, str], tmp_path: Path, tiny: None
) -> None:
    reached = [0]

    def kill(now: str, done: int, total: int) -> None:
        reached[0] += (now, done) == (what, step)
        if reached[0] == turn + 1:
            raise Killed

    request = ask(pictures, tmp_path / "killed", TWICE, checkpoint_every=1e-9)
    with pytest.raises(Killed):
        train_task(request, kill)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == [".trees.checkpoint"]
    steps: list[str] = []
    result = train_task(
        dataclasses.replace(request, resume=True), lambda now, done, _: steps.append(now) if done else None
    )
    assert trained(result.folder) == whole
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["trees"]
    if turn or what != "fold 1 of 2":
        assert steps.count("fold 1 of 2") < 2 * 3  # what was finished before is not trained again


def test_another_recipe_does_not_go_on(pictures: Path, tmp_path: Path, tiny: None) -> None:
    def kill(now: str, done: int, total: int) -> None:
        if now == "fold 2 of 2":
            raise Killed

    with pytest.raises(Killed):
        train_task(ask(pictures, tmp_path), kill)
    other = dataclasses.replace(RECIPE, lr=1e-3)
    with pytest.raises(UsageError, match=r"had --lr 0\.005, this one has 0\.001; give the same command"):
        train_task(ask(pictures, tmp_path, other, resume=True))
    assert (
        train_task(ask(pictures, tmp_path, dataclasses.replace(RECIPE, ship="head"), resume=True)).config.ships == HEAD
    )


def test_preflight_knows_of_a_stopped_run(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--resume: no training of 'trees' was stopped in"):
        check_train(ask(pictures, tmp_path, resume=True))


# A rank that is searched.


def test_a_rank_is_searched_on_the_folds_of_the_gate(pictures: Path, tmp_path: Path, tiny: None) -> None:
    steps: list[str] = []
    request = ask(pictures, tmp_path, dataclasses.replace(RECIPE, search=AUTO))
    result = train_task(request, lambda what, *_: steps.append(what))
    choice = result.measured.rank
    assert choice is not None
    assert (choice.search, choice.folds, choice.rank) == (AUTO, 2, result.config.task.adapter.rank)
    tried = {one.rank for one in choice.tried}
    assert {0, 8, 32} <= tried
    assert {what.split(",")[0] for what in steps if what.startswith("rank ")} == {
        f"rank {rank}" for rank in tried - {0}
    }
    assert "fold 1 of 2" not in steps  # the rank that was picked was compared by the search
    assert (result.measured.adapter is None) == (choice.rank == 0)
    again = train_task(request).measured.rank
    assert again is not None
    assert dataclasses.replace(again, seconds=0.0) == dataclasses.replace(choice, seconds=0.0)


@pytest.mark.parametrize(("search", "folds"), [(AUTO, 2), (AUTO_FAST, 1)])
@pytest.mark.parametrize("picked", [0, 2])
def test_the_picked_rank_is_trained_on_all_images(
    search: str, folds: int, picked: int, pictures: Path, tmp_path: Path, tiny: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def found(run: Any, frozen: Any, probe: Any, fold: np.ndarray, seed: int) -> Found:
        asked.append(int(fold.max()) + 1)
        return Found(make_rank_choice(picked, 8, picked=picked, search=search), make_gate(0.1, 0.02, folds=folds))

    monkeypatch.setattr(trainer, "search_rank", found)
    steps: list[str] = []
    request = ask(pictures, tmp_path, dataclasses.replace(RECIPE, search=search))
    result = train_task(request, lambda what, *_: steps.append(what))
    assert asked == [folds]
    assert ("all images" in steps) == (picked > 0)
    assert result.config.task.adapter.rank == picked
    assert result.config.ships == (ADAPTER if picked else HEAD)
    assert (result.config.recipe.folds if result.config.recipe else None) == (folds if picked else None)
