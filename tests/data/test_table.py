from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from adaptertune_deploy.core.spec import check_task_name
from adaptertune_deploy.data.table import TABLE, Row, opener, recognised
from tests.data.builders import make_aircraft, make_cifar, make_folder, make_food101, make_gtsrb, make_tinyimagenet

PAPER = ("cifar10", "cifar100", "svhn", "pets", "food101", "flowers", "aircraft", "tinyimagenet", "imagenet-r")


def test_the_nine_datasets_of_the_paper_come_first() -> None:
    assert tuple(TABLE)[:9] == PAPER


@pytest.mark.parametrize("name", TABLE)
def test_every_row_leads_to_a_function_of_the_same_form(name: str) -> None:
    parameters = list(inspect.signature(opener(name)).parameters)
    assert parameters == ["data_dir", "task", "allow_missing", "progress"]
    check_task_name(name)


def test_a_dataset_has_a_place_or_another_origin() -> None:
    for marker, comes in ((None, None), ("x", "is generated")):
        with pytest.raises(ValueError, match="either a folder's marker or another origin"):
            Row("x", "open_x", marker, comes)


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("cifar10", make_cifar),
        ("food101", make_food101),
        ("aircraft", make_aircraft),
        ("tinyimagenet", make_tinyimagenet),
        ("gtsrb", make_gtsrb),
    ],
)
def test_a_folder_in_the_layout_of_a_dataset_is_recognised(name: str, make: object, tmp_path: Path) -> None:
    assert callable(make)
    assert recognised(make(tmp_path)) == name


def test_a_folder_of_classes_is_not(tmp_path: Path) -> None:
    assert recognised(make_folder(tmp_path, {"pets": 1, "mnist": 1, "dtd": 1, "gtsrb": 1})) is None
