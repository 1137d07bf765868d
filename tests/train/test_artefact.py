"""train.artefact: the folder is written whole or not at all, with both candidates, and says what really ran."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.identity import ProbeRecord
from adaptertune_deploy.core.adapter.reference import known_answers, read_reference
from adaptertune_deploy.core.adapter.training_record import RecipeRecord
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.spec import HEAD_ONLY
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.data.division.splits import split
from adaptertune_deploy.data.sources.folder import open_folder
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train import artefact
from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD, Measured
from adaptertune_deploy.train.probe.head import Head
from adaptertune_deploy.train.probe.probe import Probe
from adaptertune_deploy.train.request import recipe_file
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.run import Run
from tests.model.builders import disturb, make_backbone
from tests.train.outcome.measured_values import make_head_only, make_measure, make_measured
from tests.train.runs import make_pictures, make_run

RECIPE = Recipe(
    rank=2,
    alpha=0.5,
    placement="every:2",
    epochs=3,
    batch_size=5,
    folds=3,
    lr=2e-3,
    head_lr_scale=0.25,
    weight_decay=0.02,
    warmup=0.3,
    clip=2.0,
    label_smoothing=0.05,
    start_penalty_scale=0.2,
    served_view=0.4,
    seed=7,
    precision="bf16",
    device="cpu",
    workers=0,
)


def contents(folder: Path) -> dict[str, str]:
    """Return the path and hash of every file, hidden ones included."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


ASKED = Recipe(rank=2, batch_size=64)


def make_probe(seed: int = 0) -> Probe:
    generator = np.random.default_rng(seed)
    weight, bias = generator.normal(size=(3, 16)), generator.normal(size=3)
    return Probe(Head(weight.astype(np.float32), bias.astype(np.float32), 0.03), 1.25, {0.03: 0.5})


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "trees", {"train": 6, "val": 2, "test": 4})


def run_on(pictures: Path, travel: bool = True, **changes: Any) -> Run:
    dataset = dataclasses.replace(open_folder(pictures, str(pictures), None), redistributable=travel)
    return make_run(dataset, **{"recipe": RECIPE, **changes})


def model_of(run: Run, seed: int = 2) -> AdaptedViT:
    return disturb(AdaptedViT(run.backbone, run.task), seed)


def write(out: Path, run: Run, measured: Measured | None = None, seed: int = 2) -> AdapterConfig:
    return artefact.write_artefact(out, run, ASKED, make_probe(), model_of(run, seed), measured or make_measured())


def test_the_folder_holds_both_candidates_their_facts_and_nothing_else(tmp_path: Path, pictures: Path) -> None:
    run = run_on(pictures)
    written = write(tmp_path / "out", run, make_measured(ships=ADAPTER))
    config, adapter = adapters.read_adapter(tmp_path / "out" / "trees")
    assert config == written
    assert (config.task.name, config.task.labels) == ("trees", ("ash", "elm", "oak"))
    assert (config.task.adapter, config.backbone) == (run.task.adapter, make_backbone().spec)
    assert config.preprocess == make_backbone().preprocess
    expected = model_of(run).export_tensors()
    assert adapter.tensors.keys() == expected.keys()
    assert all(np.array_equal(adapter.tensors[name], value) for name, value in expected.items())
    _, head = adapters.read_adapter(tmp_path / "out" / "trees", HEAD)
    probe = make_probe().head
    np.testing.assert_array_equal(head.tensors["head.weight"], probe.weight)
    np.testing.assert_array_equal(head.tensors["head.bias"], probe.bias)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["trees"]
    assert sorted(path.name for path in (tmp_path / "out" / "trees").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "calibration",
        "reference.safetensors",
        "report",
        "samples",
    ]


@pytest.mark.parametrize("travel", [True, False])
def test_torchs_answers_to_the_samples_are_stored_for_both_candidates(
    tmp_path: Path, pictures: Path, travel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    run = run_on(pictures, travel)
    config = write(tmp_path / "out", run, make_measured(ships=ADAPTER, adapter=make_measure(33, temperature=2.5)))
    folder = tmp_path / "out" / "trees"
    for ship in (ADAPTER, HEAD):
        _, adapter = adapters.read_adapter(folder, ship)
        network = AdaptedViT(run.backbone, adapter.task).eval()
        network.load(adapter)
        known = known_answers(folder, config, ship)
        assert known is not None
        assert len(known.images) == len(config.samples) == len(run.test)
        with torch.no_grad():
            expected = network(torch.from_numpy(known.images)).numpy()
        np.testing.assert_allclose(known.logits, expected, atol=1e-5)
    assert not np.allclose(read_reference(folder, config, ADAPTER), read_reference(folder, config, HEAD), atol=1e-3)


@pytest.mark.parametrize("ships", [HEAD, ADAPTER])
def test_what_ships_is_what_was_decided_with_its_own_temperature(ships: str, tmp_path: Path, pictures: Path) -> None:
    measured = make_measured(ships=ships, adapter=make_measure(33, temperature=2.5))
    config = write(tmp_path / "out", run_on(pictures), measured)
    assert (config.ships, config.probe) == (ships, ProbeRecord(0.03, 1.25))
    assert config.task.temperature == 2.5
    _, adapter = adapters.read_adapter(tmp_path / "out" / "trees")
    assert (adapter.task.adapter.rank, adapter.task.temperature) == ((2, 2.5) if ships == ADAPTER else (0, 1.25))


def test_the_recipe_is_recorded_as_it_ran(tmp_path: Path, pictures: Path) -> None:
    run = run_on(pictures)
    assert write(tmp_path / "out", run, make_measured(classes_unequal=True)).recipe == RecipeRecord(
        epochs=75 / 24,  # 15 steps of 5 images, of 24
        steps=15,
        batch_size=5,
        lr=2e-3,
        head_lr=5e-4,
        weight_decay=0.02,
        warmup=0.3,
        clip=2.0,
        label_smoothing=0.05,
        served_view=0.4,
        seed=7,
        placement="every:2",
        augment=run.dataset.augment,
        class_weights="balanced",
        start_penalty=pytest.approx(0.006),
        folds=3,
        precision="bf16",
        device=run.processor,
        seconds=12.345,
    )


def test_what_was_not_done_is_not_recorded(tmp_path: Path, pictures: Path) -> None:
    """Gradients that nothing clipped, and weights that equal classes did not need."""
    run = run_on(pictures, recipe=dataclasses.replace(RECIPE, clip=math.inf, class_weights="balanced", epochs=0))
    recipe = write(tmp_path / "out", run, make_measured(classes_unequal=False)).recipe
    assert recipe is not None
    assert (recipe.clip, recipe.class_weights) == (0.0, "none")
    assert (recipe.steps, recipe.epochs) == (60, pytest.approx(300 / 24))  # the fewest steps, however few images
    assert "gradients not clipped" in (tmp_path / "out" / "trees" / "README.md").read_text()


def test_rank_0_writes_the_head_alone(tmp_path: Path, pictures: Path) -> None:
    run = run_on(pictures)
    run = dataclasses.replace(run, task=dataclasses.replace(run.task, adapter=HEAD_ONLY))
    config = artefact.write_artefact(tmp_path / "out", run, ASKED, make_probe(), None, make_head_only())
    found, adapter = adapters.read_adapter(tmp_path / "out" / "trees")
    assert (found, found.ships, found.recipe) == (config, HEAD, None)
    assert (adapter.task.adapter, adapter.task.temperature) == (HEAD_ONLY, 1.25)
    assert set(adapter.tensors) == {"head.weight", "head.bias"}
    assert not any("adapter" in name for name in config.metrics)
    assert not (tmp_path / "out" / "trees" / "report" / "curves.png").exists()
    with pytest.raises(UsageError, match="was trained with rank 0 and has no adapter to ship"):
        adapters.read_adapter(tmp_path / "out" / "trees", ADAPTER)


def test_the_recipe_file_repeats_what_was_asked_for_and_not_what_was_chosen(tmp_path: Path, pictures: Path) -> None:
    run = run_on(pictures)
    write(tmp_path / "out", run)
    again = Recipe(**recipe_file.read(tmp_path / "out" / "trees" / "report" / "recipe.yaml"))
    assert (again, run.recipe.batch_size) == (ASKED, RECIPE.batch_size)
    assert (again.folds, again.precision, again.batch_size) == (0, "auto", 64)


def test_the_config_records_data_scores_and_versions(tmp_path: Path, pictures: Path) -> None:
    config = write(tmp_path / "out", run_on(pictures))
    record, measured = config.dataset, make_measured()
    assert (record.name, record.test_rule) == (".../trees", "official")
    assert (record.train, record.test) == (24, 12)  # the official validation images train too
    assert record.split_sha256 == split(open_folder(pictures, "other name", None)).sha256
    assert "your own folder" in record.licence
    assert measured.adapter is not None
    for name, scores in (
        ("head", measured.head.scores),
        ("adapter", measured.adapter.scores),
        ("shipped", measured.head.scores),
    ):
        assert config.metrics[f"test_top1_{name}"] == scores.top1
        assert config.metrics[f"test_balanced_{name}"] == scores.balanced
        assert config.metrics[f"test_loss_{name}"] == scores.loss
        assert config.metrics[f"test_calibration_error_{name}"] == scores.calibration_error
    assert len(config.metrics) == 12
    assert config.versions["torch"] == importlib.metadata.version("torch")
    assert set(config.versions) == {"adaptertune-deploy", "torch", "timm", "torchvision", "numpy", "scikit-learn"}


def test_the_test_rule_is_recorded(tmp_path: Path) -> None:
    pictures = make_pictures(tmp_path / "trees", 10)
    record = write(tmp_path / "out", run_on(pictures)).dataset
    assert (record.train, record.test, record.test_rule) == (24, 6, "stratified:0.2")


def test_the_report_and_the_config_tell_one_story(tmp_path: Path, pictures: Path) -> None:
    config = write(tmp_path / "out", run_on(pictures))
    facts = json.loads((tmp_path / "out" / "trees" / "report" / "report.json").read_text())
    assert config.recipe is not None
    assert facts["recipe"] == dataclasses.asdict(config.recipe)
    assert (facts["ships"], facts["head"]["top1"]) == (config.ships, config.metrics["test_top1_head"])


def test_no_path_of_this_machine_is_in_the_folder(tmp_path: Path, pictures: Path) -> None:
    write(tmp_path / "out", run_on(pictures))
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes()


@pytest.mark.parametrize("travel", [True, False])
def test_images_to_calibrate_on_are_trained_on_and_never_those_to_verify_on(
    tmp_path: Path, pictures: Path, travel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    run = run_on(pictures, travel)
    config = write(tmp_path / "out", run)
    trained_on = {files.sha256_bytes(run.splits.train.encoded(row)[0]) for row in range(len(run.splits.train))}
    kept = {record.sha256 for record in config.calibration}
    assert kept <= trained_on
    assert len(kept) == min(64, len(trained_on)) > 1
    assert not kept & {record.sha256 for record in config.samples}
    found = samples.find(tmp_path / "out" / "trees", config.calibration, samples.CALIBRATION_NAME)
    assert len(found) == len(config.calibration)
    assert (tmp_path / "out" / "trees" / "calibration").is_dir() is travel


def test_samples_are_the_original_files_spread_over_the_split(pictures: Path) -> None:
    part = open_folder(pictures, "trees", None).test
    assert part is not None
    few = list(artefact.chosen(part, ("ash", "Ölm tree", "oak"), count=5))
    assert [label for _, _, label in few] == ["ash", "ash", "Ölm tree", "oak", "oak"]
    assert few == [(*part.encoded(row), few[at][2]) for at, row in enumerate((0, 3, 6, 8, 11))]
    assert len(list(artefact.chosen(part, ("ash", "elm", "oak")))) == 12


@pytest.mark.parametrize("travel", [True, False])
def test_samples_travel_only_where_they_may(
    travel: bool, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    config = write(tmp_path / "out", run_on(pictures, travel=travel))
    folder = tmp_path / "out" / "trees"
    assert (folder / "samples").exists() == travel
    assert (tmp_path / "cache" / "samples").exists() != travel
    found = samples.find(folder, adapters.read_config(folder).samples)
    assert len(found) == len(config.samples) == 12
    labels = dict(zip(("ash", "elm", "oak"), config.task.labels, strict=True))
    originals = {path.read_bytes(): labels[path.parent.name] for path in (pictures / "test").rglob("*.png")}
    assert {path.read_bytes(): record.label for record, path in found} == originals
    card = (folder / "README.md").read_text()
    assert ("The folder `samples/` holds 12 of the test images" in card) == travel
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)
    assert len(samples.find(folder, config.samples)) == (12 if travel else 0)


def test_a_new_run_replaces_the_whole_old_folder(tmp_path: Path, pictures: Path) -> None:
    write(tmp_path / "out", run_on(pictures))
    (tmp_path / "out" / "trees" / "stale.txt").write_text("old")
    write(tmp_path / "out", run_on(pictures, blocks=(1,)), seed=8)
    assert not (tmp_path / "out" / "trees" / "stale.txt").exists()
    assert adapters.read_config(tmp_path / "out" / "trees").task.adapter.blocks == (1,)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["trees"]


@pytest.mark.parametrize("step", ["write_report", "model_card", "keep"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_run_that_ends_while_writing_leaves_the_old_folder(
    step: str, error: BaseException, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    write(tmp_path / "out", run_on(pictures))
    before = contents(tmp_path)
    monkeypatch.setattr(artefact, step, fail)
    with pytest.raises(type(error)):
        write(tmp_path / "out", run_on(pictures, blocks=(1,)), seed=8)
    assert contents(tmp_path) == before


def test_a_run_that_ends_while_writing_leaves_no_new_folder(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "write_config", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out", run_on(pictures))
    assert list((tmp_path / "out").iterdir()) == []
    assert adapters.list_adapters(tmp_path / "out") == ()


def test_runs_that_write_at_the_same_time_get_a_folder_each(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of writing one task, another run writes its own into the same folder."""
    first = run_on(pictures)
    second = dataclasses.replace(first, task=dataclasses.replace(first.task, name="woods"))
    model_card = artefact.model_card

    def meanwhile(*given: Any) -> str:
        monkeypatch.setattr(artefact, "model_card", model_card)
        write(tmp_path / "out", second, seed=9)
        return model_card(*given)

    monkeypatch.setattr(artefact, "model_card", meanwhile)
    write(tmp_path / "out", first)
    assert [path.name for path in adapters.list_adapters(tmp_path / "out")] == ["trees", "woods"]
    held = [adapters.read_adapter(tmp_path / "out" / name, ADAPTER)[1].tensors for name in ("trees", "woods")]
    for tensors, seed in zip(held, (2, 9), strict=True):
        expected = model_of(first, seed).export_tensors()
        assert all(np.array_equal(tensors[name], value) for name, value in expected.items())
