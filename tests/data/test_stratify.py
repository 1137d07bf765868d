from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from adaptertune_deploy.data.samples import ArrayReader, Split
from adaptertune_deploy.data.stratify import held_counts, hold_out
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
    split = make_split(counts, side=1)
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
    grown = Split(names, np.append(split.targets, 1), ArrayReader({}))
    before, after = (set(hold_out(part, 0.1, "salt")[1].names) for part in (split, grown))
    assert len(before ^ after) <= 2


@pytest.mark.parametrize("counts", [[1], [1, 1, 1]])
def test_single_images_are_kept(counts: list[int]) -> None:
    assert len(hold_out(make_split(counts), 0.5, "salt")[1]) == 0
