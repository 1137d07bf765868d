"""core.adapter.cutting: what is no wider stays, what can't be cut says what to do, the cost is that of the record."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.adapter.cutting import at_rank, cost_of
from adaptertune_deploy.core.adapter.nested import WidthRecord, cut
from adaptertune_deploy.core.errors import UsageError
from tests.builders import make_adapter, make_config, make_task, make_widths

TASK = make_task(rank=8, temperature=1.8)
WIDTHS = make_widths(1, 2, 4, 8)


def test_an_adapter_is_cut_to_a_width_and_left_where_it_is_no_wider() -> None:
    nested = make_config(TASK, widths=WIDTHS)
    assert at_rank(nested, None, 4) == "adapter-4"
    assert at_rank(nested, "adapter", 1) == "adapter-1"
    assert [at_rank(nested, None, rank) for rank in (None, 8, 64)] == [None] * 3
    assert at_rank(nested, "head", 4) == "head"
    plain = make_config(make_task(rank=4))
    assert (at_rank(plain, None, 4), at_rank(make_config(make_task(rank=0)), None, 2)) == (None, None)


def test_what_cannot_be_cut_says_what_to_do() -> None:
    with pytest.raises(UsageError) as plain:
        at_rank(make_config(TASK), None, 4)
    assert str(plain.value) == (
        "--rank 4: task 'pets' has rank 8 and is not nested, so it can't be cut; train it again with --rank 4, or with "
        "--rank nested:8, which can be cut at export"
    )
    with pytest.raises(UsageError) as between:
        at_rank(make_config(TASK, widths=WIDTHS), None, 3)
    assert str(between.value) == "--rank 3: task 'pets' was trained at the widths 1, 2, 4, 8; choose one of them"


def test_the_cost_is_that_of_the_record() -> None:
    config = make_config(TASK, widths=WIDTHS)
    numbers = {rank: 4 * (2 * 8 * rank + rank + 8) + 3 * 9 for rank in (2, 8)}
    assert numbers[2] == sum(value.size for value in cut(make_adapter(TASK).tensors, 2).values())
    assert cost_of(config, 2) == (
        f"pets cut to rank 2 of 8: {numbers[2]} of {numbers[8]} numbers, {4 * numbers[2] / 1000:.1f} kB of "
        f"{4 * numbers[8] / 1000:.1f} kB; out of fold on 378 images: accuracy 84.0 % at rank 2, 90.0 % at 8; loss "
        "0.560 and 0.500, +0.060 ± 0.020"
    )
    bare = make_config(TASK, widths=[WidthRecord(rank, 1.0) for rank in (1, 2, 4, 8)])
    assert cost_of(bare, 4).endswith("its training had too few images to measure what that costs")
