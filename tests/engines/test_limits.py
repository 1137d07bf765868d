from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.engines.limits import Limits, step_for, steps_up_to


def test_without_limits_everything_is_one_part() -> None:
    assert [*Limits().parts(1000)] == [slice(0, 1000)]
    assert Limits().takes(10**9)


@pytest.mark.parametrize(
    ("most", "rows", "sizes"), [(4, 3, [3]), (4, 4, [4]), (4, 9, [4, 4, 1]), (1, 2, [1, 1]), (4, 0, [])]
)
def test_parts_cover_the_rows_in_order(most: int, rows: int, sizes: list[int]) -> None:
    parts = [*Limits(max_rows=most).parts(rows)]
    assert [part.stop - part.start for part in parts] == sizes
    assert [place for part in parts for place in range(rows)[part]] == [*range(rows)]
    assert Limits(max_rows=most).takes(rows) is (len(sizes) <= 1)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": (2, 1)}, "ascending"),
        ({"rows": (1, 1)}, "without repeats"),
        ({"rows": (0, 1)}, "from 1"),
        ({"max_rows": 0}, "max_rows is 0, expected at least 1"),
        ({"max_rank": -1}, "max_rank is -1"),
        ({"at_once": 0}, "at_once is 0, expected at least 1"),
        ({"max_slots": 4}, "max_slots is 4, expected at least max_rows"),
        ({"max_slots": 4, "max_rows": 8}, r"expected at least max_rows \(8\)"),
    ],
)
def test_limits_that_contradict_themselves_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**limits)


@pytest.mark.parametrize(
    ("most", "steps"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12)), (32, (1, 2, 4, 8, 16, 32))]
)
def test_steps_are_powers_of_two_and_the_largest(most: int, steps: tuple[int, ...]) -> None:
    assert steps_up_to(most) == steps
    for count in range(1, most + 1):
        assert step_for(steps, count) == min(step for step in steps if step >= count)
