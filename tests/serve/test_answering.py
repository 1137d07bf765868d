"""Requests to a service that keeps its answers: what runs, what is decoded, and what is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError, ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.answering import Served
from adaptertune_deploy.serve.decoding import images as pool
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.room import Room
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.statistics import Tally, TaskStatistics
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve import warm_service
from tests.serve.fakes import (
    OPENED,
    WAIT_S,
    FakeEngine,
    asked,
    make_adapters,
    make_merged,
    random_images,
    reference,
)
from tests.serve.tasks.bundles import another, make_bundle, open_service, put
from tests.serve.tasks.bundles import play as play_service
from tests.serve.warm_service import Scenario

IMAGES = [encode(make_image(seed=seed)) for seed in range(4)]
CACHED = Settings(cache=1, max_batch=8)
PETS, FLOWERS, DIGITS = range(3)


def play(scenario: Scenario, settings: Settings = CACHED) -> dict[tuple[str, int], TaskStatistics]:
    """Run a scenario on a service that keeps its answers; see warm_service.play."""
    return warm_service.play(scenario, settings)


async def ask(
    service: Service, images: Sequence[bytes] | Array, *places: int, deadline: Deadline | None = None
) -> Served:
    current = tuple(service.tasks.current)
    return await service.answer(
        images, [current[place] for place in places], monotonic(), deadline or Deadline(monotonic() + WAIT_S)
    )


def bits(served: Served) -> list[bytes]:
    return [row.tobytes() for row in served.logits]


def ran(engine: FakeEngine) -> list[tuple[int, int]]:
    """Return the rows that ran: an image's place in its run, and a task."""
    rows: list[tuple[int, int]] = []
    for call in engine.calls:
        rows += zip(call[bank.IMAGE].tolist(), asked(call), strict=True)
    return rows


def test_what_is_asked_again_is_neither_decoded_nor_run_and_is_the_same_bit_by_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        first = await ask(service, IMAGES[:1], PETS)
        assert (first.cached, first.hits, first.batch is None) == (0, frozenset(), False)
        monkeypatch.setattr(preprocess, "decode", None)
        again = await ask(service, IMAGES[:1], PETS)
        assert bits(again) == bits(first)
        assert (again.cached, [task.name for task in again.hits], again.batch) == (1, ["pets"], None)
        timing = again.timing
        assert (timing.queue_s, timing.preprocess_s, timing.infer_s) == (0, 0, 0)
        assert timing.cache_s is not None
        assert 0 < timing.cache_s <= timing.total_s
        assert len(engine.calls) == 1

    pets = play(body)["pets", 1]
    assert (pets.success.count, pets.queue.count, pets.compute_input.count, pets.compute_infer.count) == (2, 2, 1, 1)
    assert (pets.cache_hit.count, pets.cache_miss.count, pets.rows, pets.executions) == (1, 1, 1, 1)
    assert min(pets.cache_hit.ns, pets.cache_miss.ns) > 0


def test_without_the_option_nothing_is_kept() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        for _ in range(2):
            served = await ask(service, IMAGES[:1], PETS)
            assert (served.cached, served.timing.cache_s, served.hits) == (None, None, frozenset())
        assert (len(engine.calls), service.cache) == (2, None)

    pets = play(body, Settings())["pets", 1]
    assert pets.cache_hit == pets.cache_miss == Tally()


def test_in_one_request_hits_and_misses_mix_and_only_the_missing_rows_run() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        await ask(service, [IMAGES[1]], PETS)
        await ask(service, [IMAGES[2]], FLOWERS, PETS)
        engine.forget()
        served = await ask(service, IMAGES, FLOWERS, PETS)
        assert ran(engine) == [(0, FLOWERS), (0, PETS), (1, FLOWERS), (2, FLOWERS), (2, PETS)]
        assert sum(len(call[bank.IMAGES]) for call in engine.calls) == 3  # the third image lies in none of the runs
        assert (served.cached, served.hits) == (3, frozenset())
        check(served, IMAGES, FLOWERS, PETS)
        engine.forget()
        served = await ask(service, IMAGES[::-1], PETS, DIGITS, FLOWERS)
        assert ran(engine) == [(image, DIGITS) for image in range(4)]
        assert (served.cached, {task.name for task in served.hits}) == (8, {"pets", "flowers"})
        check(served, IMAGES[::-1], PETS, DIGITS, FLOWERS)

    found = play(body)
    counted = {name: (entry.cache_hit.count, entry.cache_miss.count) for (name, _), entry in found.items()}
    assert counted == {"pets": (1, 3), "flowers": (1, 2), "digits": (0, 1)}
    assert found["flowers", 1].compute_infer.count == 2


def check(served: Served, images: Sequence[bytes], *places: int) -> None:
    """Compare every row with arithmetic straight from the adapters."""
    rows = iter(served.logits)
    for image in images:
        pixels = preprocess.preprocess(image, make_preprocess_spec())
        for place in places:
            np.testing.assert_allclose(next(rows), reference(pixels, make_adapters()[place]), rtol=1e-4, atol=1e-5)
    assert next(rows, None) is None


def test_only_the_images_that_are_missing_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    decode = preprocess.decode

    def noted(data: bytes, *arguments: Any, **options: Any) -> Any:
        decoded.append(data)
        return decode(data, *arguments, **options)

    async def body(service: Service, engine: FakeEngine) -> None:
        await ask(service, [IMAGES[0], IMAGES[2]], PETS)
        monkeypatch.setattr(preprocess, "decode", noted)
        await ask(service, IMAGES, PETS)
        assert sorted(decoded) == sorted([IMAGES[1], IMAGES[3]])
        await ask(service, IMAGES, PETS)
        assert len(decoded) == 2

    play(body)


def test_pixels_are_kept_image_by_image_and_apart_from_files() -> None:
    pixels = random_images(3)
    files = np.stack([preprocess.preprocess(IMAGES[0], make_preprocess_spec())])

    async def body(service: Service, engine: FakeEngine) -> None:
        first = await ask(service, pixels[:2], PETS, FLOWERS)
        engine.forget()
        again = await ask(service, pixels, PETS, FLOWERS)
        assert bits(again)[:4] == bits(first)
        assert ran(engine) == [(0, PETS), (0, FLOWERS)]
        assert again.cached == 4
        await ask(service, IMAGES[:1], PETS)
        assert (await ask(service, files, PETS)).cached == 0

    play(body)


def test_two_that_ask_the_same_at_the_same_time_both_run_and_agree_from_then_on() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        engine.gate.clear()
        both = [asyncio.ensure_future(ask(service, IMAGES[:1], PETS)) for _ in range(2)]
        await asyncio.to_thread(engine.wait_entered)
        while service.batcher.admitted < 2:
            await asyncio.sleep(0)
        engine.gate.set()
        await asyncio.gather(*both)
        assert len(ran(engine)) == 2
        assert (await ask(service, IMAGES[:1], PETS)).cached == 1
        assert service.cache is not None
        assert len(service.cache.store) == 1

    play(body)


def test_an_image_twice_in_one_request_is_kept_once() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        assert (await ask(service, IMAGES[:1] * 2, PETS)).cached == 0
        assert (await ask(service, IMAGES[:1] * 3, PETS)).cached == 3
        assert service.cache is not None
        assert len(service.cache.store) == 1

    play(body)


def test_no_error_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        assert service.cache is not None
        for _ in range(2):
            with pytest.raises(ImageError):
                await ask(service, [b"no image"], PETS)
        engine.error = RuntimeError("broken")
        with pytest.raises(EngineError):
            await ask(service, IMAGES[:1], PETS)
        engine.error, engine.poison = None, frozenset({PETS})
        with pytest.raises(EngineError, match="NaN or infinite"):
            await ask(service, IMAGES[:1], FLOWERS, PETS)
        late = asyncio.ensure_future(ask(service, IMAGES[:1], FLOWERS))
        await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait([late])
        assert len(service.cache.store) == 0
        engine.poison = frozenset()
        check(await ask(service, IMAGES[:1], FLOWERS, PETS), IMAGES[:1], FLOWERS, PETS)

    pets = play(body)["pets", 1]
    assert (pets.fail.count, pets.cache_miss.count, pets.cache_hit.count) == (4, 1, 0)


def test_a_bad_image_among_known_ones_is_named_by_its_own_place() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        await ask(service, IMAGES[:2], PETS)
        cut = IMAGES[2][:-30]  # its header is fine
        for bad in (b"<svg/>", cut):
            with pytest.raises(ImageError, match=r"^image 3 of 4: "):
                await ask(service, [*IMAGES[:2], bad, IMAGES[3]], PETS)

    play(body)


@pytest.mark.case("D1", "images that are over the limits of a request, and known", "refused as unknown ones are")
def test_what_is_over_the_limits_is_refused_the_same_with_a_warm_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = make_image().size[0] * make_image().size[1]
    limits = {"request_pixels": 2 * pixels, "max_pixels": pixels, "max_request_rows": 4}
    wide = encode(make_image(make_image().size[0] + 1, make_image().size[1]))

    async def refusals(service: Service) -> list[tuple[int, str]]:
        found = []
        for images, places in (
            (IMAGES[:3], (PETS,)),
            ([IMAGES[0], wide], (PETS,)),
            ([wide], (PETS,)),
            (IMAGES[:2], (PETS, FLOWERS, DIGITS)),
        ):
            with pytest.raises(RequestError) as caught:
                await ask(service, images, *places)
            found.append((caught.value.status, str(caught.value)))
        return found

    said: list[list[tuple[int, str]]] = []

    async def body(service: Service, engine: FakeEngine) -> None:
        for image in IMAGES:
            await ask(service, [image], PETS, FLOWERS, DIGITS)
        said.append(await refusals(service))

    play(body, Settings(**limits))  # type: ignore[arg-type]
    play(body, Settings(**limits, cache=1))  # type: ignore[arg-type]
    assert said[0] == said[1]
    assert [status for status, _ in said[1]] == [413] * 4


def test_large_images_are_measured_before_they_are_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PORTION", 10)

    async def body(service: Service, engine: FakeEngine) -> None:
        assert service.cache is not None
        service.cache.look = None  # type: ignore[assignment, method-assign]
        with pytest.raises(ImageError, match="expected at most 100"):
            await ask(service, IMAGES[:1], PETS)

    play(body, Settings(cache=1, max_pixels=100))


@pytest.mark.case("A1", "a full queue, and an answer that is known", "503 as for any other")
def test_a_known_answer_is_admitted_like_any_other() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        await ask(service, IMAGES[:1], PETS)
        engine.gate.clear()
        waiting = asyncio.ensure_future(ask(service, IMAGES[1:3], PETS))
        while service.batcher.admitted < 2:
            await asyncio.sleep(0)
        assert (await ask(service, IMAGES[:1], PETS)).cached == 1
        more = asyncio.ensure_future(ask(service, IMAGES[3:], PETS))
        await asyncio.sleep(0)
        with pytest.raises(RequestError, match="Exceeds maximum queue size") as caught:
            await ask(service, IMAGES[:1], PETS)
        assert caught.value.status == 503
        engine.gate.set()
        await asyncio.gather(waiting, more)

    play(body, Settings(cache=1, queue_limit=3, max_request_rows=3))


@pytest.mark.case("A2", "a deadline that has passed, and an answer that is known", "504 as for any other")
def test_a_deadline_that_has_passed_is_not_met_by_a_known_answer() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        await ask(service, IMAGES[:2], PETS)
        for images in (IMAGES[:1], IMAGES[:2]):
            with pytest.raises(RequestError, match="Request timeout expired") as caught:
                await ask(service, images, PETS, deadline=Deadline(monotonic() - 1))
            assert caught.value.status == 504

    play(body)


def test_the_warm_up_and_the_probe_of_an_engine_ask_the_engine() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        assert service.cache is not None
        assert len(service.cache.store) == 0
        await ask(service, IMAGES[:1], PETS)
        engine.forget()
        await service.batcher._probe()
        assert sorted({task for _, task in ran(engine)}) == [PETS, FLOWERS, DIGITS]
        assert len(service.cache.store) == 1

    play(body)


def test_a_bound_of_bytes_holds_over_requests() -> None:
    async def body(service: Service, engine: FakeEngine) -> None:
        assert service.cache is not None
        store = service.cache.store
        store.limit = 4 * 600
        for image in (*IMAGES, *IMAGES):
            await ask(service, [image], PETS, FLOWERS)
            assert store.used <= store.limit
        assert store.evictions > 0

    play(body)


def test_merged_graphs_answer_the_same() -> None:
    async def run() -> None:
        session, engines = make_merged()
        service = Service(session, CACHED)
        service.start()
        while service.not_ready is not None:
            await asyncio.sleep(0)
        for engine in engines:
            engine.forget()
        try:
            first = await ask(service, IMAGES, PETS, FLOWERS)
            again = await ask(service, IMAGES, PETS, FLOWERS)
            assert bits(first) == bits(again)
            assert [len(engine.calls) > 0 for engine in engines] == [True, True, False]
            assert again.cached == 8
        finally:
            await service.close()

    asyncio.run(run())


def test_a_known_answer_needs_no_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = open_service(make_bundle(tmp_path, monkeypatch), room=Room(1), settings=CACHED)

    async def body() -> None:
        for place in (PETS, FLOWERS, DIGITS):
            await ask(service, IMAGES, place)
        warm = service.slots.warm_tasks
        again = await ask(service, IMAGES, DIGITS, PETS, FLOWERS)
        assert again.cached == 12
        assert service.slots.warm_tasks == warm

    play_service(service, body)


def test_a_version_that_is_gone_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even an answer that was computed by it after another version had taken its place."""
    folder = make_bundle(tmp_path, monkeypatch)
    service, newer = open_service(folder, settings=CACHED), another("pets")
    pixels = preprocess.preprocess(IMAGES[0], make_preprocess_spec())

    async def body() -> None:
        assert service.cache is not None
        (engine,), old = OPENED, next(task for task in service.tasks.current if task.name == "pets")
        await service.answer(IMAGES[1:2], [old], monotonic())
        engine.forget()
        put(folder, newer)
        run = engine.compute
        swapped = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(feeds: Any) -> Any:
            if len(feeds[bank.IMAGES]) == 2:
                asyncio.run_coroutine_threadsafe(swapped.wait(), loop).result(WAIT_S)
            return run(feeds)

        engine.compute = slow
        late = asyncio.ensure_future(service.answer([IMAGES[0], IMAGES[2]], [old], monotonic()))
        await asyncio.to_thread(engine.wait_entered)
        await service.loader.load("pets")
        swapped.set()
        answered = await late
        np.testing.assert_allclose(answered.logits[0], reference(pixels, make_adapters()[0]), rtol=1e-4, atol=1e-5)
        fresh = next(task for task in service.tasks.current if task.name == "pets")
        served = await service.answer(IMAGES[:1], [fresh], monotonic())
        assert served.cached == 0
        np.testing.assert_allclose(served.logits[0], reference(pixels, newer), rtol=1e-4, atol=1e-5)
        await asyncio.sleep(0)
        assert len(service.cache.store) == 1
        await service.loader.unload("pets")
        await asyncio.sleep(0)
        assert (len(service.cache.store), service.cache.store.used) == (0, 0)

    play_service(service, body)
