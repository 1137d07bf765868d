"""train.artefact: the folder is written whole or not at all, and never over something else."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import shutil
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import samples
from adaptertune_deploy.core.adapter import AdapterConfig
from adaptertune_deploy.data.sources.folder import open_folder
from adaptertune_deploy.data.splits import split
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train import artefact
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_model
from tests.train.runs import make_measured, make_pictures


def contents(folder: Path) -> dict[str, str]:
    """Return the path and hash of every file, hidden ones included."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "trees", {"train": 8, "test": 4})


def write(out: Path, pictures: Path, model: AdaptedViT | None = None, travel: bool = True) -> AdapterConfig:
    dataset = dataclasses.replace(open_folder(pictures, str(pictures), None), redistributable=travel)
    splits = split(dataset)
    assert splits.test is not None
    model = model or disturb(make_model(make_task("trees", blocks=(0, 2))))
    return artefact.write_artefact(out, model, make_backbone(), (dataset, splits), splits.test, make_measured())


def test_the_folder_holds_the_network_its_facts_and_nothing_else(tmp_path: Path, pictures: Path) -> None:
    model = disturb(make_model(make_task("trees", blocks=(0, 2), alpha=0.5)))
    written = write(tmp_path / "out", pictures, model)
    config, adapter = adapters.read_adapter(tmp_path / "out" / "trees")
    assert config == written
    assert (config.task, config.backbone) == (model.task, make_backbone().spec)
    assert config.preprocess == make_backbone().preprocess
    assert all(np.array_equal(adapter.tensors[name], value) for name, value in model.export_tensors().items())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["trees"]
    assert sorted(path.name for path in (tmp_path / "out" / "trees").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "report",
        "samples",
    ]


def test_the_config_records_data_scores_and_versions(tmp_path: Path, pictures: Path) -> None:
    config = write(tmp_path / "out", pictures)
    record, measured = config.dataset, make_measured()
    assert (record.name, record.val_split) == (".../trees", "stratified:0.1")
    assert (record.train, record.val, record.test) == (21, 3, 12)
    assert record.split_sha256 == split(open_folder(pictures, "other name", None)).sha256
    assert "your own folder" in record.licence
    assert config.metrics == {
        "test_top1": measured.adapter.top1,
        "test_top1_head_only": measured.head_only.top1,
        "test_loss": measured.adapter.loss,
        "test_loss_head_only": measured.head_only.loss,
    }
    assert config.versions["torch"] == importlib.metadata.version("torch")
    assert set(config.versions) == {"adaptertune-deploy", "torch", "timm", "torchvision", "numpy"}


def test_no_path_of_this_machine_is_in_the_folder(tmp_path: Path, pictures: Path) -> None:
    write(tmp_path / "out", pictures)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or str(tmp_path).encode() not in path.read_bytes()


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
    config = write(tmp_path / "out", pictures, travel=travel)
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
    write(tmp_path / "out", pictures)
    (tmp_path / "out" / "trees" / "stale.txt").write_text("old")
    write(tmp_path / "out", pictures, disturb(make_model(make_task("trees", blocks=(1,))), seed=8))
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

    write(tmp_path / "out", pictures)
    before = contents(tmp_path)
    monkeypatch.setattr(artefact, step, fail)
    with pytest.raises(type(error)):
        write(tmp_path / "out", pictures, disturb(make_model(make_task("trees", blocks=(1,))), seed=8))
    assert contents(tmp_path) == before


def test_a_run_that_ends_while_writing_leaves_no_new_folder(
    tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "write_config", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "out", pictures)
    assert list((tmp_path / "out").iterdir()) == []
    assert adapters.list_adapters(tmp_path / "out") == ()
