from __future__ import annotations

import hashlib
import inspect
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data import datasets, splits
from adaptertune_deploy.data.splits import Splits, split
from tests.data.builders import make_dataset, make_folder, save_image


def names(parts: Splits) -> set[str]:
    found = [name for part in (parts.train, parts.val, parts.test) if part is not None for name in part.names]
    assert len(found) == len(set(found)), "an image is in two parts"
    return set(found)


def test_auto_takes_the_official_validation_split_where_there_is_one() -> None:
    dataset = make_dataset([5, 5], val=[2, 2], test=[3, 3])
    parts = split(dataset)
    assert parts.rule == "official"
    assert (parts.train, parts.val, parts.test) == (dataset.train, dataset.val, dataset.test)
    assert parts.notes == ()


def test_auto_holds_out_a_stratified_tenth_otherwise() -> None:
    parts = split(make_dataset([40, 20, 7], test=[1, 1, 1]))
    assert parts.rule == "stratified:0.1"
    assert parts.val is not None
    assert np.bincount(parts.val.targets).tolist() == [4, 2, 1]
    assert len(parts.train) == 60


def test_every_class_of_the_real_pets_is_in_validation(shared_data: Path) -> None:
    parts = split(datasets.open_dataset("pets", shared_data / "pets"))
    assert parts.val is not None
    assert np.bincount(parts.val.targets, minlength=37).min() >= 1
    assert len(names(parts)) == 259 + 74


def test_the_split_knows_no_run_seed_and_repeats_itself() -> None:
    assert "seed" not in inspect.signature(split).parameters
    first, second = (split(make_dataset([30, 30])) for _ in range(2))
    np.random.seed(7)  # a run that seeds the global generator changes nothing
    third = split(make_dataset([30, 30]))
    assert first.sha256 == second.sha256 == third.sha256
    assert first.val is not None
    assert third.val is not None
    assert first.val.names == third.val.names


def test_the_hash_is_that_of_the_names_in_order() -> None:
    # The value is part of the format: an adapter written by an older release names it.
    parts = split(make_dataset([3, 3], test=[1, 1]))
    assert parts.val is not None
    assert set(parts.train.names) == {f"a/{row}" for row in range(6)} - set(parts.val.names)
    text = "train 4 {} {} {} {} val 2 {} {} test 2 c/0 c/1 ".format(*parts.train.names, *parts.val.names)
    assert parts.sha256 == hashlib.sha256(text.replace(" ", "\0").encode()).hexdigest()
    assert parts.sha256.startswith("851725b4769646156c78a0f2")


def test_a_removed_and_an_added_image_change_the_hash(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "pictures", {"cat": 6, "dog": 6})
    hashes = [split(datasets.open_dataset(str(root))).sha256]
    save_image(root / "cat" / "new.png")
    hashes.append(split(datasets.open_dataset(str(root))).sha256)
    (root / "dog" / "0.png").unlink()
    hashes.append(split(datasets.open_dataset(str(root))).sha256)
    (root / "dog" / "1.png").rename(root / "dog" / "renamed.png")
    hashes.append(split(datasets.open_dataset(str(root))).sha256)
    assert len(set(hashes)) == 4


def test_an_image_that_moves_from_train_to_test_changes_the_hash() -> None:
    dataset = make_dataset([4, 4], val=[2, 2], test=[2, 2])
    assert split(dataset, "official").sha256 != split(dataset, "none").sha256


def test_a_dataset_without_test_gives_up_a_stratified_fifth_and_says_so() -> None:
    dataset = make_dataset([50, 25])
    parts = split(dataset)
    assert parts.test is not None
    assert np.bincount(parts.test.targets).tolist() == [10, 5]
    assert names(parts) == set(dataset.train.names)
    assert parts.notes == ("there is no test split, so 15 of 75 training images are held out as test, stratified",)
    assert split(dataset, "none").test is not None
    assert split(dataset, "none").test.names == parts.test.names  # type: ignore[union-attr]


def test_the_official_validation_images_are_not_wasted_by_another_rule() -> None:
    dataset = make_dataset([10, 10], val=[10, 10], test=[1, 1])
    none = split(dataset, "none")
    assert (len(none.train), none.val) == (40, None)
    assert none.notes == ("the 20 official validation images were added to the training images",)
    stratified = split(dataset, "stratified:0.25")
    assert stratified.val is not None
    assert (len(stratified.train), len(stratified.val), stratified.rule) == (30, 10, "stratified:0.25")


def test_three_images_are_enough_to_start() -> None:
    parts = split(make_dataset([2, 1]))
    assert (len(parts.train), parts.val) == (2, None)
    assert parts.test is not None
    assert len(parts.test) == 1
    assert "no image could be held out for val" in parts.notes[1]
    two = split(make_dataset([1, 1]))
    assert (len(two.train), two.val, two.test) == (2, None, None)


@pytest.mark.parametrize(
    "rule", ["offical", "stratified:0", "stratified:1", "stratified:x", "stratified:nan", "0.1", ""]
)
def test_an_unknown_rule_is_refused(rule: str) -> None:
    with pytest.raises(UsageError, match=r"expected auto, official, stratified:0\.1 or none"):
        split(make_dataset([3, 3]), rule)


def test_official_without_such_a_split_names_the_alternative() -> None:
    with pytest.raises(UsageError, match=r"no official validation split; use --val-split stratified:0\.1"):
        split(make_dataset([3, 3]), "official")


def test_the_salt_is_a_constant() -> None:
    assert splits.SALT == "adaptertune-deploy split 1"
