"""Runs that take a time of a formula, by a clock that nothing else moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adaptertune_deploy.engines.limits import Limits
from tests.serve.fakes import FakeEngine, asked, make_shared

Cost = Callable[[int], float]


class Timed:
    """A session, the rows of its runs, and the clock."""

    def __init__(self, cost: Cost, limits: Limits | None = None) -> None:
        self.now = 0.0
        self.runs: list[int] = []
        engine = FakeEngine(limits=limits or Limits())
        compute = engine.compute

        def costly(feeds: Mapping[str, Any]) -> Any:
            rows = len(asked(feeds))
            self.runs.append(rows)
            self.now += cost(rows)
            return compute(feeds)

        engine.compute = costly
        self.session = make_shared(engine)

    def clock(self) -> float:
        return self.now
