"""A service on an engine that records what it is asked, warm, for the length of a scenario."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import TaskStatistics
from tests.serve.fakes import WAIT_S, FakeEngine, make_shared

Scenario = Callable[[Service, FakeEngine], Awaitable[None]]


def play(scenario: Scenario, settings: Settings) -> dict[tuple[str, int], TaskStatistics]:
    """Run a scenario and return the statistics of every task and version; at its end nothing may be held."""

    async def run() -> dict[tuple[str, int], TaskStatistics]:
        engine = FakeEngine()
        service = Service(make_shared(engine), settings)
        service.start()
        while service.not_ready is not None:
            await asyncio.sleep(0)
        engine.forget()
        try:
            await asyncio.wait_for(scenario(service, engine), WAIT_S)
        finally:
            engine.gate.set()
            await service.close()
        assert service.images.budget.used == service.batcher.admitted == 0
        return service.statistics.tasks

    return asyncio.run(run())
