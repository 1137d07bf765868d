"""data.names.whereabouts: images are found again where they were, and no path of this machine is handed on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.names.whereabouts import find_dataset, recorded_name, remember
from tests.builders import make_config

SHA = "5" * 64


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "project" / "data" / "birds").mkdir(parents=True)
    (tmp_path / "elsewhere" / "birds").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def config(name: str) -> AdapterConfig:
    made = make_config(tensors_sha256=SHA)
    return dataclasses.replace(made, dataset=dataclasses.replace(made.dataset, name=name))


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        ("data/birds", "./data/birds"),
        ("./data/../data/birds/", "./data/birds"),
        ("{here}/data/birds", "./data/birds"),
        ("../elsewhere/birds", ".../birds"),
        ("{here}/../elsewhere/birds", ".../birds"),
        ("~/birds", ".../birds"),
        (".", ".../project"),
        ("pets", "./pets"),
    ],
)
def test_only_what_lies_below_the_current_folder_is_recorded_with_its_path(
    here: Path, given: str, recorded: str
) -> None:
    name = given.format(here=here)
    assert recorded_name(name, Path(name)) == recorded


def test_a_dataset_of_the_table_is_recorded_by_its_name() -> None:
    assert recorded_name("pets", None) == "pets"


def test_a_name_that_is_no_text_is_recorded_as_one() -> None:
    assert recorded_name("x", Path("b\udcffrds")) == "./b?rds"


@pytest.mark.parametrize("recorded", ["./data/birds", ".../birds", "./gone"])
def test_the_place_is_remembered_on_this_machine(here: Path, recorded: str) -> None:
    remember(SHA, Path("../elsewhere/birds"))
    found, data_dir = find_dataset(config(recorded), None, None)
    assert (Path(found), data_dir) == (here.parent / "elsewhere" / "birds", None)


def test_the_place_is_found_from_another_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember(SHA, Path("data/birds"))
    monkeypatch.chdir("/")
    assert find_dataset(config("./data/birds"), None, None) == (str(here / "data" / "birds"), None)


def test_a_data_folder_is_remembered_too(here: Path) -> None:
    remember(SHA, Path("data"))
    assert find_dataset(config("pets"), None, None) == ("pets", here / "data")
    assert find_dataset(config("pets"), None, Path("other")) == ("pets", Path("other"))


def test_what_is_given_wins(here: Path) -> None:
    remember(SHA, Path("data/birds"))
    assert find_dataset(config("./data/birds"), "../elsewhere/birds", None) == ("../elsewhere/birds", None)


def test_without_a_memory_a_path_below_the_current_folder_will_do(here: Path) -> None:
    assert find_dataset(config("./data/birds"), None, None) == ("./data/birds", None)
    assert find_dataset(config("pets"), None, None) == ("pets", None)


@pytest.mark.parametrize("recorded", [".../birds", "./gone"])
def test_what_is_not_known_is_asked_for_in_one_line(recorded: str, tmp_path: Path) -> None:
    remember(SHA, tmp_path / "was here")
    with pytest.raises(UsageError) as caught:
        find_dataset(config(recorded), None, None)
    assert str(caught.value) == (
        f"task 'pets' was trained on the images in {recorded}, and no such place is known here; "
        "name it: --dataset FOLDER"
    )


def test_a_cache_that_cannot_be_written_is_no_error(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "file").write_bytes(b"mine")
    monkeypatch.setenv("ATD_CACHE", str(here / "file"))
    remember(SHA, Path("data/birds"))
    assert find_dataset(config("pets"), None, None) == ("pets", None)


def test_what_is_remembered_is_for_nobody_elses_eyes(tmp_path: Path) -> None:
    remember(SHA, Path("data/birds"))
    assert (tmp_path / "cache" / "datasets").stat().st_mode & 0o077 == 0


def test_a_list_is_recorded_and_found_like_a_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list_ = here / "data" / "labels.csv"
    list_.write_text("path,label\n")
    assert recorded_name("data/labels.csv", Path("data/labels.csv")) == "./data/labels.csv"
    assert find_dataset(config("./data/labels.csv"), None, None) == ("./data/labels.csv", None)
    remember(SHA, Path("data/labels.csv"))
    monkeypatch.chdir("/")
    assert find_dataset(config("./data/labels.csv"), None, None) == (str(list_), None)


def test_a_dataset_of_the_hub_is_found_by_its_name(here: Path) -> None:
    assert recorded_name("hf:someone/birds:kind", None) == "hf:someone/birds:kind"
    assert find_dataset(config("hf:someone/birds:kind"), None, None) == ("hf:someone/birds:kind", None)


def test_what_came_from_python_is_asked_for(here: Path) -> None:
    with pytest.raises(UsageError, match="was trained from Python on a dataset that only that program knows"):
        find_dataset(config("python:birds"), None, None)
    assert find_dataset(config("python:birds"), "data/birds", None) == ("data/birds", None)
