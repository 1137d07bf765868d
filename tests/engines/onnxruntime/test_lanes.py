from __future__ import annotations

import pytest

from adaptertune_deploy.engines.onnxruntime.lanes import Lanes, shares


@pytest.mark.parametrize(
    ("threads", "at_once", "runs", "each"),
    [(1, 4, 1, 1), (2, 4, 2, 1), (3, 4, 3, 1), (6, 4, 3, 2), (7, 4, 3, 2), (8, 4, 4, 2), (8, 1, 1, 8), (12, 4, 4, 3)],
)
def test_threads_are_shared_out_so_that_few_idle(threads: int, at_once: int, runs: int, each: int) -> None:
    assert shares(threads, at_once) == (runs, each)


def test_a_lone_run_has_all_threads_and_others_beside_it_few() -> None:
    lanes = Lanes("all", "few")
    with lanes.take() as first:
        with lanes.take() as second, lanes.take() as third:
            assert (first.session, second.session, third.session) == ("all", "few", "few")
            assert second.peaks is third.peaks is not first.peaks
        with lanes.take() as next_one:
            assert next_one.session == "few"
    with lanes.take() as alone:
        assert alone.session == "all"


def test_a_run_that_fails_is_no_longer_there() -> None:
    lanes = Lanes("all", "few")
    try:
        with lanes.take():
            raise RuntimeError
    except RuntimeError:
        pass
    with lanes.take() as lane:
        assert lane.session == "all"


def test_without_a_second_session_all_runs_share_the_first() -> None:
    lanes = Lanes("only")
    with lanes.take() as first, lanes.take() as second:
        assert first is second
