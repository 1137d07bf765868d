"""train.request.placement: where adapters go, and what names no blocks."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.train.request.placement import check_placement, place
from adaptertune_deploy.train.request.recipe import Recipe


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [
        ("all", (0, 1, 2, 3, 4, 5)),
        ("last:1", (5,)),
        ("last:4", (2, 3, 4, 5)),
        ("last:6", (0, 1, 2, 3, 4, 5)),
        ("every:1", (0, 1, 2, 3, 4, 5)),
        ("every:2", (0, 2, 4)),
        ("every:4", (0, 4)),
        ("every:6", (0,)),
        ("0", (0,)),
        ("1,3,5", (1, 3, 5)),
    ],
)
def test_placement_names_blocks(placement: str, blocks: tuple[int, ...]) -> None:
    assert place(placement, 6) == blocks


WRONG_PLACEMENTS = (
    *("", "All", "last", "last:", "last:0", "last:7", "every:0", "first:2", "last:-1", "last:2.0", "last:²"),
    *("1,", ",1", "1, 3", "01", "-1", "1;3", "1:3", "²"),
)


@pytest.mark.parametrize("placement", WRONG_PLACEMENTS)
def test_another_placement_is_refused(placement: str) -> None:
    with pytest.raises(UsageError, match="expected all, last:K or every:K with K from 1 to 6"):
        place(placement, 6)
    if placement == "last:7":
        Recipe(placement=placement)  # only the backbone's depth forbids it
    else:
        known = r"with K from 1 to the backbone.s depth, or blocks counted from 0, as 3,7,11"
        with pytest.raises(UsageError, match=rf"{known}(\. Did you mean '(all|last:2)'\?)?$"):
            Recipe(placement=placement)


@pytest.mark.parametrize("placement", ["3,1", "1,1", "0,5,4"])
def test_blocks_of_a_list_ascend_and_are_named_once(placement: str) -> None:
    with pytest.raises(UsageError, match=f"--placement {placement}: expected blocks in ascending order, none twice"):
        Recipe(placement=placement)


def test_a_block_that_the_backbone_lacks_is_named() -> None:
    assert Recipe(placement="1,6").placement == "1,6"  # only the backbone's depth forbids it
    with pytest.raises(UsageError, match="--placement 1,6: no block 6, expected blocks from 0 to 5"):
        place("1,6", 6)


@pytest.mark.parametrize(
    ("typed", "near"), [("evry:2", "every:2"), ("lst:4", "last:4"), ("al", "all"), ("evry", "every:K"), ("All", "all")]
)
def test_a_word_that_is_nearly_right_is_told(typed: str, near: str) -> None:
    with pytest.raises(UsageError, match=rf"as 3,7,11\. Did you mean '{near}'\?$"):
        check_placement(typed)
