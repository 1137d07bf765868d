"""Which fold holds each image out, the same whenever the same images are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from adaptertune_deploy.data.division.stratify import MIXED, Rows, groups_of, held_rows
from adaptertune_deploy.data.samples import Split

SINGLE_FRACTION = 0.2
ALWAYS_TRAINS = -1


def fold_of(split: Split, folds: int, salt: str, contents: Sequence[str] | None = None) -> Rows:
    """Return the fold that holds each image out, int64 [images], from 0; ALWAYS_TRAINS for an image that none does.

    Every class is spread evenly over the folds, by a hash of `salt` and the names as in stratify.py. Copies of an
    image are in one fold. An image always trains when its class has no other one (copies don't count), or when it is
    there under two labels. Every fold therefore trains on every class.

    Args:
        split: what to divide.
        folds: 2 or more hold out each image once; 1 holds out a stratified fifth and nothing else.
        salt: another text gives another choice.
        contents: see stratify.groups_of.

    Raises:
        DatasetError: a file is absent.
    """
    if folds < 1:
        raise ValueError(f"{folds} folds, expected at least 1")
    fold = np.full(len(split), ALWAYS_TRAINS, dtype=np.int64)
    if folds == 1:
        fold[held_rows(split, SINGLE_FRACTION, salt, contents=contents)] = 0
        return fold
    groups = groups_of(split, salt, contents=contents)
    sizes = Counter(group.target for group in groups)
    # One round over all classes: no two folds differ by more than one group, in a class or in all.
    spread = [group for group in groups if group.target != MIXED and sizes[group.target] > 1]
    for turn, group in enumerate(sorted(spread, key=lambda group: group.target)):
        fold[group.rows] = turn % folds
    return fold
