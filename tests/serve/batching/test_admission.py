from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.admission import Admission
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import status_of

TASKS = ("pets", "flowers", "digits")


def fits(admission: Admission, wanted: dict[int, int]) -> bool:
    status = status_of(admission.check, wanted)
    assert status in (None, 503)
    return status is None


def test_one_task_gets_no_more_than_its_places() -> None:
    admission = Admission(TASKS, Settings(queue_limit=128, task_queue_limit=64))
    with admission.hold({0: 64}):
        with pytest.raises(RequestError, match="64 rows of 'pets' wait, at most 64 of one task may; try again later"):
            admission.check({0: 1})
        assert fits(admission, {1: 20})
        assert not fits(admission, {1: 1, 0: 1})
    assert admission.total == 0
    assert fits(admission, {0: 64})


@pytest.mark.case("A5", "tasks fill the queue", "every task keeps some places")
def test_every_task_has_places_that_no_other_can_take() -> None:
    admission = Admission(TASKS, Settings(queue_limit=128))
    assert admission.kept == 10
    with admission.hold({0: 64}), admission.hold({1: 54}):
        assert not fits(admission, {1: 1})
        assert fits(admission, {2: 10})
        with pytest.raises(RequestError, match="Exceeds maximum queue size: 118 rows wait, at most 128 may"):
            admission.check({2: 11})
        with admission.hold({2: 10}):
            assert admission.total == 128
            assert not fits(admission, {2: 1})


sizes = st.integers(1, 300)


@given(st.integers(1, 40), sizes, sizes, sizes)
def test_the_largest_request_always_fits_an_empty_queue(tasks: int, queue: int, task: int, request: int) -> None:
    settings = Settings(queue_limit=queue, task_queue_limit=task, max_request_rows=request)
    admission = Admission([str(place) for place in range(tasks)], settings)
    assert fits(admission, {0: settings.largest_request})
    assert fits(admission, {tasks - 1: settings.largest_request})


@pytest.mark.case("A1", "any mixture of requests", "never more rows than the queue takes")
@given(st.integers(1, 6), sizes, st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40))))
def test_the_queue_never_holds_more_than_its_limit(tasks: int, queue: int, requests: list[tuple[int, int]]) -> None:
    admission = Admission([str(place) for place in range(tasks)], Settings(queue_limit=queue))
    held = []
    for task, rows in requests:
        if fits(admission, {task % tasks: rows}):
            holding = admission.hold({task % tasks: rows})
            holding.__enter__()
            held.append(holding)
        assert admission.total <= queue
        quiet = [place for place in range(tasks) if not admission.rows[place]]
        assert all(fits(admission, {place: admission.kept}) for place in quiet if admission.kept)
    for holding in held:
        holding.__exit__(None, None, None)
    assert admission.total == 0
