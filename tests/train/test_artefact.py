"""train.artefact: the folder is written whole or not at all, and never over something else."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import files
from adaptertune_deploy.core.adapter import AdapterConfig
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.train import artefact
from adaptertune_deploy.train.folder import open_folder
from adaptertune_deploy.train.splits import split
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


def write(out: Path, pictures: Path, model: AdaptedViT | None = None) -> AdapterConfig:
    dataset = open_folder(pictures, str(pictures), None)
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
    assert (record.name, record.val_split) == (str(pictures), "stratified:0.1")
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


def test_samples_are_the_original_files_spread_over_the_split(tmp_path: Path, pictures: Path) -> None:
    part = open_folder(pictures, "trees", None).test
    assert part is not None
    artefact.write_samples(tmp_path / "few", part, ("ash", "Ölm tree", "o" * 300), count=5)
    found = sorted(path.name for path in (tmp_path / "few").iterdir())
    assert found == ["00000_ash.png", "00003_ash.png", "00006__lm_tree.png", "00008_" + "o" * 60 + ".png",
                     "00011_" + "o" * 60 + ".png"]  # fmt: skip
    assert (tmp_path / "few" / found[2]).read_bytes() == part.encoded(6)[0]
    artefact.write_samples(tmp_path / "all", part, ("ash", "elm", "oak"))
    assert len(list((tmp_path / "all").iterdir())) == 12


def test_a_new_run_replaces_the_whole_old_folder(tmp_path: Path, pictures: Path) -> None:
    write(tmp_path / "out", pictures)
    (tmp_path / "out" / "trees" / "stale.txt").write_text("old")
    write(tmp_path / "out", pictures, disturb(make_model(make_task("trees", blocks=(1,))), seed=8))
    assert not (tmp_path / "out" / "trees" / "stale.txt").exists()
    assert adapters.read_config(tmp_path / "out" / "trees").task.adapter.blocks == (1,)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["trees"]


@pytest.mark.parametrize("step", ["write_report", "model_card", "write_samples"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_run_that_ends_while_writing_leaves_the_old_folder(
    step: str, error: BaseException, tmp_path: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
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


def test_a_place_is_free_when_it_is_empty_or_holds_an_adapter(tmp_path: Path, pictures: Path) -> None:
    artefact.check_place(tmp_path / "none", "trees")
    write(tmp_path / "out", pictures)
    artefact.check_place(tmp_path / "out", "trees")
    artefact.check_place(tmp_path / "out", "birds")


def test_another_persons_folder_is_not_replaced(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(
        UsageError, match=r"trees exists and is no adapter folder; move it away, or choose another --task"
    ):
        artefact.check_place(pictures.parent, "trees")
    files.write_bytes(tmp_path / "file", b"")
    with pytest.raises(UsageError, match=r"--out .*file: is a file, expected a folder"):
        artefact.check_place(tmp_path / "file", "trees")
