from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from adaptertune_deploy.data.division.stratify import held_counts, hold_out, hold_out_by_name
from adaptertune_deploy.data.samples import ArrayReader, Split
from tests.data.builders import make_split

COUNTS = st.lists(st.integers(1, 60), min_size=1, max_size=12)


@given(COUNTS, st.floats(0.01, 0.9))
def test_every_class_gives_its_share_and_keeps_one(counts: list[int], fraction: float) -> None:
    held = held_counts(counts, fraction)
    for count, taken in zip(counts, held.tolist(), strict=True):
        assert taken <= count - 1
        assert taken >= min(1, count - 1)
        if 1 <= count * fraction <= count - 1:
            assert abs(taken - count * fraction) < 1


@given(st.lists(st.integers(20, 60), min_size=2, max_size=8))
def test_counts_agree_with_scikit_learn(counts: list[int]) -> None:
    fraction = 0.1
    targets = np.repeat(np.arange(len(counts)), counts)
    total = round(fraction * len(targets))
    _, rows = next(StratifiedShuffleSplit(1, test_size=total, random_state=0).split(targets, targets))
    theirs = np.bincount(targets[rows], minlength=len(counts))
    ours = held_counts(counts, fraction)
    assert ours.sum() == total
    assert np.abs(ours - theirs).max() <= 1


@given(COUNTS, st.sampled_from([0.1, 0.2, 0.5]))
def test_the_two_parts_are_the_whole_in_order(counts: list[int], fraction: float) -> None:
    split = make_split(counts, side=4)
    kept, held = hold_out(split, fraction, "salt")
    assert not set(kept.names) & set(held.names)
    position = {name: row for row, name in enumerate(split.names)}
    for part in (kept, held):
        rows = [position[name] for name in part.names]
        assert rows == sorted(rows)
        assert part.targets.tolist() == split.targets[np.array(rows, dtype=int)].tolist()
    assert len(kept) + len(held) == len(split)


def test_the_choice_follows_from_names_and_salt_alone() -> None:
    split = make_split([40, 30])
    _, held = hold_out(split, 0.2, "salt")
    backwards = split.take(np.arange(len(split))[::-1])
    assert set(hold_out(backwards, 0.2, "salt")[1].names) == set(held.names)
    assert set(hold_out(split, 0.2, "pepper")[1].names) != set(held.names)


def test_one_more_image_moves_at_most_one_other() -> None:
    split = make_split([50, 50])
    names = (*split.names, "train/new")
    pixels = {name: np.full((1, 1, 3), row, np.uint8) for row, name in enumerate(names)}
    split = Split(split.names, split.targets, ArrayReader(pixels))
    grown = Split(names, np.append(split.targets, 1), ArrayReader(pixels))
    before, after = (set(hold_out(part, 0.1, "salt")[1].names) for part in (split, grown))
    assert len(before ^ after) <= 2


@pytest.mark.parametrize("counts", [[1], [1, 1, 1]])
def test_single_images_are_kept(counts: list[int]) -> None:
    assert len(hold_out(make_split(counts), 0.5, "salt")[1]) == 0


def pictured(targets: list[int], pictures: list[int]) -> Split:
    """Return a split whose row i shows picture pictures[i]; rows of one picture are copies."""
    names = tuple(f"image {row}" for row in range(len(targets)))
    pixels = {name: np.full((1, 1, 3), picture, np.uint8) for name, picture in zip(names, pictures, strict=True)}
    return Split(names, np.array(targets, dtype=np.int64), ArrayReader(pixels))


def test_copies_count_once_and_stay_together() -> None:
    split = pictured([0] * 12 + [1] * 4, [1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 8, 8, 9])
    kept, held = hold_out(split, 0.34, "salt")
    assert not set(kept.contents()) & set(held.contents())
    for target, expected in ((0, 2), (1, 1)):
        assert len({content for content, of in zip(held.contents(), held.targets, strict=True) if of == target}) == (
            expected
        )


def test_a_class_of_copies_of_one_image_is_kept() -> None:
    assert len(hold_out(pictured([0, 0, 0, 1, 1], [1, 1, 1, 2, 2]), 0.5, "salt")[1]) == 0


def test_an_image_under_two_labels_is_never_held_out() -> None:
    split = pictured([0, 1, 0, 0, 1, 1], [1, 1, 2, 3, 4, 5])
    held = {name for salt in range(40) for name in hold_out(split, 0.5, str(salt))[1].names}
    assert held == set(split.names[2:])


def test_a_published_division_goes_by_names_alone_and_reads_nothing() -> None:
    whole = make_split([10, 5, 1])
    unreadable = Split(whole.names, whole.targets, ArrayReader({}))
    kept, held = hold_out_by_name(unreadable, 0.2, "salt")
    assert np.bincount(held.targets, minlength=3).tolist() == [2, 1, 0]
    assert sorted(kept.names + held.names) == sorted(whole.names)
    assert held.names == hold_out(whole, 0.2, "salt")[1].names  # where no image is there twice, the rule is the same
