from __future__ import annotations

import asyncio
from time import monotonic

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError, ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import TaskStatistics
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve import warm_service
from tests.serve.fakes import WAIT_S, FakeEngine, make_adapters, make_shared, reference
from tests.serve.warm_service import Scenario


def play(scenario: Scenario, settings: Settings | None = None) -> TaskStatistics:
    """Run a scenario and return the statistics of the first task; see warm_service.play."""
    return warm_service.play(scenario, settings or Settings())["pets", 1]


def asked_for(service: Service, *places: int) -> list[ServedTask]:
    """Return tasks by their place in the current generation."""
    return [tuple(service.tasks.current)[place] for place in places]


def test_images_times_tasks_become_rows_and_are_counted() -> None:
    encoded = [encode(make_image(seed=seed)) for seed in range(2)]

    async def body(service: Service, engine: FakeEngine) -> None:
        served = await service.answer(encoded, asked_for(service, 1, 0), monotonic())
        pixels = [preprocess.preprocess(data, make_preprocess_spec()) for data in encoded]
        expected = [(pixels[0], 1), (pixels[0], 0), (pixels[1], 1), (pixels[1], 0)]
        for logits, (image, task) in zip(served.logits, expected, strict=True):
            np.testing.assert_allclose(logits, reference(image, make_adapters()[task]), rtol=1e-4, atol=1e-5)
        assert engine.calls[0][bank.IMAGE].tolist() == [0, 0, 1, 1]
        timing = served.timing
        assert timing.total_s >= timing.preprocess_s + timing.queue_s + timing.infer_s > 0
        assert (served.batch.size, served.batch.images) == (4, 2)

    pets = play(body, Settings(max_batch=4))  # the one that a start finds depends on how fast this machine is
    assert (pets.success.count, pets.rows, pets.executions, pets.pending) == (1, 2, 1, 0)


def test_each_kind_of_failure_has_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    good = encode(make_image())

    async def body(service: Service, engine: FakeEngine) -> None:
        with pytest.raises(ImageError):
            await service.answer([b"no image"], asked_for(service, 0), monotonic())
        engine.error = RuntimeError("broken")
        with pytest.raises(EngineError):
            await service.answer([good], asked_for(service, 0), monotonic())
        engine.error = None
        engine.gate.clear()
        running = asyncio.ensure_future(service.answer([good], asked_for(service, 0), monotonic()))
        await asyncio.to_thread(engine.wait_entered)
        await asyncio.to_thread(engine.wait_entered)
        with pytest.raises(RequestError, match="at most 4 may"):
            await service.answer([good] * 4, asked_for(service, 0), monotonic())
        gone = asyncio.ensure_future(service.answer([good], asked_for(service, 0), monotonic()))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait([gone])
        engine.gate.set()
        await running

    pets = play(body, Settings(max_batch=4, max_request_rows=4, queue_limit=4))
    assert pets.failures == {"OTHER": 1, "BACKEND": 1, "REJECTED": 1, "CANCELED": 1}
    assert (pets.success.count, pets.fail.count, pets.pending) == (1, 4, 0)


def test_the_gauge_of_rows_that_wait_follows_every_request() -> None:
    good = encode(make_image())

    def shown(service: Service) -> dict[str, str]:
        lines = service.metrics.render().decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if line.startswith("atd_queue_rows{"))

    async def body(service: Service, engine: FakeEngine) -> None:
        for images in (1, 3):
            engine.gate.clear()
            running = asyncio.ensure_future(service.answer([good] * images, asked_for(service, 0, 1), monotonic()))
            await asyncio.to_thread(engine.wait_entered)
            waits = f"{float(images)}"
            assert shown(service) == {
                'atd_queue_rows{task="pets"}': waits,
                'atd_queue_rows{task="flowers"}': waits,
                'atd_queue_rows{task="digits"}': "0.0",
            }
            engine.gate.set()
            await running
        assert set(shown(service).values()) == {"0.0"}

    play(body, Settings(max_batch=8, instances=1))


def test_a_deadline_counts_from_arrival_and_covers_decoding() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        with pytest.raises(RequestError, match="while the images were decoded") as caught:
            await service.answer(
                [encode(make_image())], asked_for(service, 0), monotonic() - 1.0, Deadline(monotonic() - 0.5)
            )
        assert caught.value.status == 504
        assert engine.calls == []

    assert play(body).failures["REJECTED"] == 1


def test_a_deadline_passes_in_the_queue() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        good = encode(make_image())
        engine.gate.clear()
        running = asyncio.ensure_future(service.answer([good], asked_for(service, 0), monotonic()))
        await asyncio.to_thread(engine.wait_entered)
        with pytest.raises(RequestError, match="Request timeout expired") as caught:
            await service.answer([good], asked_for(service, 0), monotonic(), Deadline(monotonic() + 0.05))
        assert caught.value.status == 504
        engine.gate.set()
        await running
        assert len(engine.calls) == 1

    play(body)


def test_a_request_of_too_many_rows_is_refused_before_decoding() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        with pytest.raises(RequestError, match="3 images for 3 tasks are 9 rows, at most 8") as caught:
            await service.answer([b"never looked at"] * 3, asked_for(service, 0, 1, 2), monotonic())
        assert caught.value.status == 413

    play(body, Settings(max_request_rows=8, max_batch=8))


def test_readiness_follows_the_life_of_the_service() -> None:
    async def run() -> None:
        engine = FakeEngine()
        engine.gate.clear()
        service = Service(make_shared(engine), Settings())
        service.start()
        assert service.not_ready == "the engine is warming up"
        engine.gate.set()
        while service.not_ready is not None:
            await asyncio.sleep(0)
        await service.close()
        assert service.not_ready == "the server is shutting down"

    asyncio.run(asyncio.wait_for(run(), WAIT_S))


def test_the_nearest_task_is_found_by_name() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        assert service.nearest("flower") == " Did you mean 'flowers'?"

    play(body)


def test_batches_are_no_larger_than_the_engine_takes() -> None:
    for settings in (Settings(max_batch=8), Settings()):
        batcher = Service(make_shared(FakeEngine(limits=Limits(max_rows=3))), settings).batcher
        assert (batcher.rows, batcher.most) == (3, 3)
