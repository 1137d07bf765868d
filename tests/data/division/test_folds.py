from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.data.division.folds import ALWAYS_TRAINS, fold_of
from adaptertune_deploy.data.division.stratify import held_counts
from adaptertune_deploy.data.samples import ArrayReader, Split
from tests.data.builders import make_split

# (class, picture): rows of one picture are copies of one image
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 25)), min_size=1, max_size=60)


def split_of(rows: list[tuple[int, int]]) -> Split:
    """Return a split whose row i shows picture rows[i][1], labelled rows[i][0]."""
    names = tuple(f"image {row}" for row in range(len(rows)))
    pixels = {name: np.full((1, 1, 3), picture, np.uint8) for name, (_, picture) in zip(names, rows, strict=True)}
    return Split(names, np.array([target for target, _ in rows], dtype=np.int64), ArrayReader(pixels))


def pictures_of(rows: list[tuple[int, int]]) -> dict[int, set[int]]:
    """Return class -> its pictures that no other class shows."""
    labels: dict[int, set[int]] = {}
    for target, picture in rows:
        labels.setdefault(picture, set()).add(target)
    classes: dict[int, set[int]] = {}
    for picture, targets in labels.items():
        if len(targets) == 1:
            classes.setdefault(min(targets), set()).add(picture)
    return classes


@given(ROWS, st.integers(1, 5))
def test_copies_are_in_one_fold_and_two_labels_always_train(rows: list[tuple[int, int]], folds: int) -> None:
    fold = fold_of(split_of(rows), folds, "salt")
    assert (fold.dtype, fold.shape) == (np.int64, (len(rows),))
    owned = pictures_of(rows)
    for picture in {picture for _, picture in rows}:
        (found,) = {int(fold[row]) for row, (_, shown) in enumerate(rows) if shown == picture}
        assert ALWAYS_TRAINS <= found < folds
        if not any(picture in pictures for pictures in owned.values()):
            assert found == ALWAYS_TRAINS


@given(ROWS, st.integers(2, 5))
def test_folds_hold_out_every_image_once_and_evenly(rows: list[tuple[int, int]], folds: int) -> None:
    fold = fold_of(split_of(rows), folds, "salt")
    of_picture = {picture: int(fold[row]) for row, (_, picture) in enumerate(rows)}
    counts = []
    for pictures in pictures_of(rows).values():
        found = [of_picture[picture] for picture in pictures]
        if len(pictures) == 1:
            assert found == [ALWAYS_TRAINS]
        else:
            assert ALWAYS_TRAINS not in found
            counts.append(np.bincount(found, minlength=folds))
            assert np.ptp(counts[-1]) <= 1
            assert counts[-1].max() < len(pictures), "a fold holds a whole class out"
    if counts:
        assert np.ptp(np.sum(counts, axis=0)) <= 1


@given(ROWS)
def test_one_fold_is_a_stratified_fifth(rows: list[tuple[int, int]]) -> None:
    fold = fold_of(split_of(rows), 1, "salt")
    assert set(fold.tolist()) <= {0, ALWAYS_TRAINS}
    owned = pictures_of(rows)
    expected = held_counts([len(pictures) for _, pictures in sorted(owned.items())], 0.2).tolist()
    held = {picture for row, (_, picture) in enumerate(rows) if fold[row] == 0}
    assert [len(pictures & held) for _, pictures in sorted(owned.items())] == expected


@given(ROWS, st.integers(1, 5), st.randoms())
def test_the_order_of_the_images_changes_nothing(rows: list[tuple[int, int]], folds: int, random: object) -> None:
    split = split_of(rows)
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert fold_of(split.take(order), folds, "salt").tolist() == fold_of(split, folds, "salt")[order].tolist()


def test_another_salt_gives_other_folds() -> None:
    split = make_split([30, 30])
    assert fold_of(split, 3, "salt").tolist() == fold_of(split, 3, "salt").tolist()
    assert fold_of(split, 3, "salt").tolist() != fold_of(split, 3, "pepper").tolist()


def test_no_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="0 folds, expected at least 1"):
        fold_of(make_split([3, 3]), 0, "salt")


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_copies_are_told_by_what_they_have_in_common(folds: int) -> None:
    """Pairs of one picture in other files: no file equals another one."""
    split = make_split([40, 40])
    contents = [f"{row // 2}" for row in range(80)]
    fold = fold_of(split, folds, "salt", contents)
    assert (fold[::2] == fold[1::2]).all()
    assert not (fold_of(split, folds, "salt")[::2] == fold_of(split, folds, "salt")[1::2]).all()
