from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.serve.sessions.warming import try_out, warm_up
from tests.serve.fakes import FakeEngine, asked, make_merged, make_shared


@pytest.mark.case("B1", "the first request of each batch size", "warm before the server is ready")
def test_warm_up_runs_one_and_the_largest_batch_of_mixed_tasks() -> None:
    engine = FakeEngine()
    warm_up(make_shared(engine), 5)
    assert [len(call["task"]) for call in engine.calls] == [1, 5]
    assert asked(engine.calls[1]) == [0, 1, 2, 0, 1]
    assert engine.calls[1]["images"].shape == (5, 3, 32, 32)


@pytest.mark.case("B1", "a task whose finite weights give NaN", "the server does not start")
def test_warm_up_runs_every_task_and_looks_at_its_answer() -> None:
    engine = FakeEngine()
    warm_up(make_shared(engine), 2)
    assert [asked(call) for call in engine.calls] == [[0], [0, 1], [2]]
    with pytest.raises(EngineError, match="'digits' gave logits that are NaN"):
        warm_up(make_shared(FakeEngine(poison=frozenset({2}))), 2)


def test_warm_up_runs_every_size_that_an_engine_prepares() -> None:
    engine = FakeEngine(limits=Limits(rows=(1, 2, 4, 8), max_rows=8))
    warm_up(make_shared(engine), 6)
    assert [len(call["task"]) for call in engine.calls] == [1, 2, 4, 6]


def test_a_batch_that_no_memory_holds_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def zeros(shape: object, dtype: object) -> None:
        raise MemoryError

    session = make_shared()
    monkeypatch.setattr(np, "zeros", zeros)
    with pytest.raises(EngineError, match="no memory for 1 images of 32 x 32 at once; lower --max-batch"):
        warm_up(session, 5)


def test_warm_up_runs_every_merged_engine() -> None:
    session, opened = make_merged()
    warm_up(session, 2)
    assert all(engine.calls for engine in opened)


def test_a_task_that_is_tried_and_gives_nan_is_unloaded() -> None:
    session = make_shared(FakeEngine(poison=frozenset({2})))
    with pytest.raises(EngineError, match="'digits' gave logits that are NaN"):
        try_out(session, 2)
    assert list(session.tasks) == [0, 1]
    try_out(session, 1)
    assert list(session.tasks) == [0, 1]
