from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.batching.admission import Admission
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import status_of

TASKS = ("pets", "flowers", "digits")


def make_admission(settings: Settings, tasks: int = len(TASKS)) -> Admission:
    return Admission(lambda: tasks, settings)


def fits(admission: Admission, wanted: dict[str, int]) -> bool:
    status = status_of(admission.check, wanted)
    assert status in (None, 503)
    return status is None


def test_one_task_gets_no_more_than_its_places() -> None:
    admission = make_admission(Settings(queue_limit=128, task_queue_limit=64))
    with admission.hold({"pets": 64}):
        with pytest.raises(RequestError, match="64 rows of 'pets' wait, at most 64 of one task may; try again later"):
            admission.check({"pets": 1})
        assert fits(admission, {"flowers": 20})
        assert not fits(admission, {"flowers": 1, "pets": 1})
    assert admission.total == 0
    assert fits(admission, {"pets": 64})


@pytest.mark.case("A5", "tasks fill the queue", "every task keeps some places")
def test_every_task_has_places_that_no_other_can_take() -> None:
    admission = make_admission(Settings(queue_limit=128))
    assert admission.kept == 10
    with admission.hold({"pets": 64}), admission.hold({"flowers": 54}):
        assert not fits(admission, {"flowers": 1})
        assert fits(admission, {"digits": 10})
        with pytest.raises(RequestError, match="Exceeds maximum queue size: 118 rows wait, at most 128 may"):
            admission.check({"digits": 11})
        with admission.hold({"digits": 10}):
            assert admission.total == 128
            assert not fits(admission, {"digits": 1})


def test_one_counter_tells_what_waits_for_good_and_keeps_no_name_without_rows() -> None:
    admission = make_admission(Settings())
    rows = admission.rows
    for _ in range(2):
        with admission.hold({"pets": 3, "flowers": 0}), admission.hold({"pets": 1}):
            assert rows["pets"] == 4
        assert dict(rows) == {}


sizes = st.integers(1, 300)


@given(st.integers(1, 40), sizes, sizes, sizes)
def test_the_largest_request_always_fits_an_empty_queue(tasks: int, queue: int, task: int, request: int) -> None:
    settings = Settings(queue_limit=queue, task_queue_limit=task, max_request_rows=request)
    admission = make_admission(settings, tasks)
    assert fits(admission, {"0": settings.largest_request})
    assert fits(admission, {str(tasks - 1): settings.largest_request})


@pytest.mark.case("A1", "any mixture of requests", "never more rows than the queue takes")
@given(st.integers(1, 6), sizes, st.lists(st.tuples(st.integers(0, 5), st.integers(1, 40))))
def test_the_queue_never_holds_more_than_its_limit(tasks: int, queue: int, requests: list[tuple[int, int]]) -> None:
    admission = make_admission(Settings(queue_limit=queue), tasks)
    held = []
    for task, rows in requests:
        if fits(admission, {str(task % tasks): rows}):
            holding = admission.hold({str(task % tasks): rows})
            holding.__enter__()
            held.append(holding)
        assert admission.total <= queue
        quiet = [place for place in range(tasks) if not admission.rows[str(place)]]
        assert all(fits(admission, {str(place): admission.kept}) for place in quiet if admission.kept)
    for holding in held:
        holding.__exit__(None, None, None)
    assert admission.total == 0
