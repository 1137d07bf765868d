from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data import datasets
from tests.data.builders import make_folder, make_pets


def test_an_unknown_name_gets_the_nearest_one_and_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        datasets.open_dataset("flwers")
    assert "Did you mean 'flowers'?" in str(caught.value)
    assert "cifar10, cifar100, svhn, pets, food101, flowers, aircraft, tinyimagenet, imagenet-r" in str(caught.value)
    assert "a .csv, .tsv or .parquet list of images" in str(caught.value)
    assert "hf:OWNER/NAME" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_path_that_does_not_exist_or_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a dataset nor a folder"):
        datasets.open_dataset(str(tmp_path / "nothing"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        datasets.open_dataset(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="neither a dataset nor a folder nor a list"):
        datasets.open_dataset(str(tmp_path / "labels.csv"))


def test_a_folder_is_opened_by_its_path(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "birds", {"robin": 1, "wren": 2})
    dataset = datasets.open_dataset(str(root))
    assert (dataset.name, dataset.task, dataset.labels) == (str(root), "birds", ("robin", "wren"))
    assert datasets.open_dataset(str(root), task="garden").task == "garden"


def test_a_name_of_the_table_wins_over_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path / "digits", {"robin": 1, "wren": 2})
    monkeypatch.chdir(tmp_path)
    assert len(datasets.open_dataset("digits").labels) == 10
    assert datasets.open_dataset("./digits").labels == ("robin", "wren")


def test_a_folder_in_the_layout_of_a_known_dataset_is_pointed_out(tmp_path: Path) -> None:
    root = make_pets(tmp_path / "somewhere", ["a_1 1 1 1", "b_1 2 1 1"], ["a_2 1 1 1"])
    with pytest.raises(UsageError, match=f"use --dataset pets --data-dir {root}"):
        datasets.open_dataset(str(root))


def test_a_data_folder_is_refused_where_none_is_read(tmp_path: Path) -> None:
    for name in ("digits", "shapes", str(make_folder(tmp_path / "birds", {"robin": 1, "wren": 2}))):
        with pytest.raises(UsageError, match="leave the option out"):
            datasets.open_dataset(name, tmp_path)


@pytest.mark.parametrize("task", ["", "../up", "two words", "a/b"])
def test_a_task_name_that_is_no_file_name_is_refused(task: str) -> None:
    with pytest.raises(UsageError, match="--task: "):
        datasets.open_dataset("digits", task=task)


def test_the_task_name_is_handed_on() -> None:
    assert datasets.open_dataset("digits").task == "digits"
    assert datasets.open_dataset("digits", task="post").task == "post"


def test_a_wrong_name_is_refused_without_any_heavy_library() -> None:
    code = (
        "import sys\n"
        "from adaptertune_deploy.core.errors import UsageError\n"
        "from adaptertune_deploy.data.datasets import check_dataset\n"
        "try: check_dataset('nope')\n"
        "except UsageError: print(*(name.split('.')[0] for name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "adaptertune_deploy" in done.stdout.split()
    assert not {"numpy", "PIL", "torch", "scipy", "datasets", "pyarrow"} & set(done.stdout.split())


def test_a_dataset_of_the_hub_is_known_by_its_prefix(tmp_path: Path) -> None:
    assert datasets.check_dataset("hf:uoft-cs/cifar100:fine_label") == ("cifar100", None)
    assert datasets.check_dataset("hf:uoft-cs/cifar100", task="things") == ("things", None)
    with pytest.raises(UsageError, match="lies in the cache of Hugging Face; leave the option out"):
        datasets.check_dataset("hf:uoft-cs/cifar100", tmp_path)
    with pytest.raises(UsageError, match="expected hf:OWNER/NAME"):
        datasets.check_dataset("hf:cifar100")


@pytest.mark.parametrize(
    ("name", "task"),
    [("pets", "pets"), ("hf:uoft-cs/cifar100:fine_label", "cifar100"), ("some/birds", "birds"), ("birds.csv", "birds")],
)
def test_a_task_is_named_after_its_dataset(
    name: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "birds.csv").write_text("path,label\n")
    assert datasets.task_of(name) == task
