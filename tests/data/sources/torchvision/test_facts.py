from __future__ import annotations

import inspect

import pytest
import torchvision.datasets

from adaptertune_deploy.data.batches.augment import PRESETS
from adaptertune_deploy.data.sources.torchvision.facts import OTHERS, Other
from adaptertune_deploy.data.table import TABLE


@pytest.mark.parametrize("name", OTHERS)
def test_torchvision_has_the_class_and_takes_the_arguments(name: str) -> None:
    other = OTHERS[name]
    parameters = dict(inspect.signature(getattr(torchvision.datasets, other.peer).__init__).parameters)
    if "kwargs" in parameters:
        parameters |= inspect.signature(torchvision.datasets.MNIST.__init__).parameters
    for arguments in other.parts.values():
        assert set(arguments) <= set(parameters)
    assert other.reads == "items" or other.reads in parameters
    assert not other.downloads or "download" in parameters


def test_every_entry_is_a_row_of_the_table() -> None:
    assert set(OTHERS) == {name for name, row in TABLE.items() if row.module == "torchvision.others"}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_terms_that_were_not_read_at_the_source_are_to_be_checked(other: Other) -> None:
    assert "check the terms before you use it" in other.licence
    assert other.non_commercial is not False
    assert other.augment in PRESETS
    assert "train" in other.parts
    assert set(other.parts) <= {"train", "val", "test"}


@pytest.mark.parametrize("name", ["emnist-balanced", "emnist-letters", "kmnist", "mnist", "rendered-sst2", "usps"])
def test_nothing_with_characters_is_ever_mirrored(name: str) -> None:
    assert not PRESETS[OTHERS[name].augment].flip
