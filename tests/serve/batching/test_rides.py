"""Requests for more tasks than there are slots, through a whole service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.batching.fair_queue import DEFAULT_PRIORITY
from adaptertune_deploy.serve.batching.rides import Rides
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.room import Room
from adaptertune_deploy.serve.tasks.index import IndexEntry
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from adaptertune_deploy.serve.timing.deadline import Deadline
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve import fakes
from tests.serve.fakes import make_adapters, reference
from tests.serve.tasks.bundles import another, make_bundle, open_real, open_service, play, put

IMAGES = [encode(make_image(seed=seed)) for seed in range(2)]
PIXELS = [preprocess.preprocess(image, make_preprocess_spec()) for image in IMAGES]
ALL = ("pets", "flowers", "digits")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path, monkeypatch)


def tasks(service: Service, names: Sequence[str]) -> list[ServedTask]:
    found = [service.tasks.current.get(name) for name in names]
    return [task for task in found if task is not None]


async def ask(service: Service, names: Sequence[str], adapters: Sequence[Adapter] | None = None) -> None:
    """Ask about both images and compare every row with arithmetic straight from the adapters."""
    known = {adapter.task.name: adapter for adapter in adapters or make_adapters()}
    served = await service.answer(IMAGES, tasks(service, names), monotonic())
    rows = iter(served.logits)
    for pixels in PIXELS:
        for name in names:
            np.testing.assert_allclose(next(rows), reference(pixels, known[name]), rtol=1e-4, atol=1e-5)
    assert next(rows, None) is None


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_one_request_may_ask_more_tasks_than_there_are_slots(folder: Path, form: str) -> None:
    service = open_service(folder, form, room=Room(1))

    async def body() -> None:
        assert [task.key is not None for task in tasks(service, ALL)] == [True, False, False]
        for names in (ALL, ("digits", "pets"), ("flowers",), ALL[::-1]):
            await ask(service, names)
            assert len(service.session.tasks) <= 1
        text = service.metrics.render().decode()
        assert "atd_slot_load_seconds_count " in text
        found = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line.startswith("atd_slot_")}
        assert found["atd_slot_hits_total"] + found["atd_slot_misses_total"] == 9
        assert found["atd_slot_load_seconds_count"] == found["atd_slot_evictions_total"] >= 5
        assert 'atd_task_tiers{tier="device"} 1.0' in text

    play(service, body)


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_on_a_real_engine_every_answer_is_the_tasks_own(tmp_path: Path, form: str) -> None:
    pytest.importorskip("onnx", reason="onnx makes this test's graphs")
    service = open_real(tmp_path, form, Room(2, frozenset({"digits"})))

    async def body() -> None:
        assert service.slots.warm(tasks(service, ["digits"])[0])
        await asyncio.gather(*(ask(service, [name]) for _ in range(8) for name in ALL), *(ask(service, ALL),) * 1)
        assert service.slots.warm(tasks(service, ["digits"])[0])
        assert len(service.session.tasks) <= 2

    play(service, body)


def test_rows_need_not_be_every_task_about_every_image(folder: Path) -> None:
    service = open_service(folder, room=Room(1))

    async def decoded() -> Array:
        return np.stack(PIXELS)

    async def body() -> None:
        (engine,), (pets, flowers, digits) = fakes.OPENED, tasks(service, ALL)
        engine.forget()
        rows = [(0, flowers), (0, pets), (1, digits), (1, pets)]
        ridden = await Rides(service.slots, service.batcher).ride(decoded(), rows, Deadline(), DEFAULT_PRIORITY)
        known = {adapter.task.name: adapter for adapter in make_adapters()}
        for logits, (image, task) in zip(ridden.logits, rows, strict=True):
            np.testing.assert_allclose(logits, reference(PIXELS[image], known[task.name]), rtol=1e-4, atol=1e-5)
        tried = [call for call in engine.calls if np.isin(call[bank.IMAGES], PIXELS).any()]
        assert sorted(len(call[bank.IMAGES]) for call in tried) == [1, 1, 2]  # no image that no row asks about

    play(service, body)


def test_states_and_tiers_are_shown_and_versions_stay(folder: Path) -> None:
    service = open_service(folder, room=Room(1))

    async def body() -> None:
        index = service.loader.index()
        assert index[0] == IndexEntry("digits", 1, "READY", "without a slot, on disk")
        assert index[2] == IndexEntry("pets", 1, "READY", "")
        assert service.loader.tiers() == {"device": 1, "host": 0, "disk": 2}
        first = tasks(service, ["pets"])[0]
        await ask(service, ["digits"])
        await ask(service, ["flowers"])
        assert service.loader.tiers() == {"device": 1, "host": 1, "disk": 1}
        record = bundle.read_manifest(folder).tasks[2]
        (folder / record.file).write_bytes(b"damaged")
        await ask(service, ["digits"])  # out of host memory
        await ask(service, ["pets"])
        assert tasks(service, ["pets"])[0] is first
        assert (first.version, service.statistics.tasks["pets", 1].rows) == (1, 2)

    play(service, body)


def test_a_cold_task_is_replaced_and_unloaded(folder: Path) -> None:
    service, newer = open_service(folder, room=Room(1)), another("digits")

    async def body() -> None:
        old = tasks(service, ["digits"])[0]
        put(folder, newer)
        await service.loader.load("digits")
        fresh = tasks(service, ["digits"])[0]
        assert (fresh.version, service.slots.warm(fresh), len(service.session.tasks)) == (2, True, 1)
        assert not service.slots.warm(old)
        await ask(service, ["pets"])
        await ask(service, ["digits"], [newer])
        await service.loader.unload("flowers")
        assert IndexEntry("flowers", 1, "UNAVAILABLE", "unloaded") in service.loader.index()
        assert service.loader.tiers() == {"device": 1, "host": 1, "disk": 0}

    play(service, body)


def test_a_deadline_holds_while_a_task_is_brought_up_and_warm_ones_are_answered(folder: Path) -> None:
    service = open_service(folder, room=Room(2))

    async def body() -> None:
        loads = asyncio.Event()
        run, slots = service.slots._run, service.slots

        async def slow(work: object) -> int:
            await loads.wait()
            return await run(work)  # type: ignore[arg-type]

        slots._run = slow
        late = service.answer(IMAGES, tasks(service, ["digits"]), monotonic(), Deadline(monotonic() + 0.05))
        with pytest.raises(RequestError, match="the deadline passed while the task was brought up") as caught:
            await late
        assert caught.value.status == 504
        assert service.statistics.tasks["digits", 1].failures["REJECTED"] == 1
        (warm,) = service.slots.warm_tasks  # the other one gave its slot up
        await ask(service, [warm.name])
        loads.set()
        await ask(service, ["digits"])

    play(service, body)


def test_a_file_that_is_damaged_fails_its_task_alone(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    service = open_service(folder, room=Room(1))

    async def body() -> None:
        record = bundle.read_manifest(folder).tasks[2]
        (folder / record.file).write_bytes(b"damaged")
        with pytest.raises(RequestError, match="task 'digits' could not be brought up") as caught:
            await ask(service, ["pets", "digits"])
        fakes.check_error_text(str(caught.value))
        assert "could not be brought up: " in service.loader.index()[0].reason
        await ask(service, ["pets", "flowers"])

    play(service, body)


def test_many_requests_for_any_tasks_are_all_answered(folder: Path) -> None:
    service = open_service(folder, room=Room(1))

    async def body() -> None:
        choices = [("pets",), ("flowers", "digits"), ALL, ("digits",), ("pets", "flowers")]
        await asyncio.gather(*(ask(service, choices[place % 5]) for place in range(15)))
        assert len(service.session.tasks) <= 1
        assert service.batcher.admitted == 0

    play(service, body)
