from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data import datasets
from tests.data.builders import make_folder, make_pets


def test_the_table_names_what_the_documentation_promises() -> None:
    assert tuple(datasets.TABLE) == ("pets", "flowers", "digits", "shapes")


def test_an_unknown_name_gets_the_nearest_one_and_the_list() -> None:
    with pytest.raises(UsageError) as caught:
        datasets.open_dataset("flwers")
    assert "Did you mean 'flowers'?" in str(caught.value)
    assert "pets, flowers, digits, shapes" in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_path_that_does_not_exist_or_is_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither a dataset nor a folder"):
        datasets.open_dataset(str(tmp_path / "nothing"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        datasets.open_dataset(str(tmp_path / "file"))


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
