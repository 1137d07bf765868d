from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import AtdError, EngineError, FormatError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.room import Room
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.index import IndexEntry
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import encode, make_image, make_preprocess_spec, put_graph
from tests.serve import fakes
from tests.serve.fakes import FakeEngine, make_adapters, make_shared, reference
from tests.serve.tasks.bundles import another, drop, make_bundle, open_real, open_service, play, put, resident, spoiled

IMAGE = encode(make_image())
SETTLING = 300  # loads and unloads until the heap has found its shape
PIXELS = preprocess.preprocess(IMAGE, make_preprocess_spec())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path, monkeypatch)


def served(service: Service, name: str) -> ServedTask:
    task = service.tasks.current.get(name)
    assert task is not None
    return task


async def ask(service: Service, task: ServedTask) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (await service.answer([IMAGE], [task], monotonic())).logits[0]


def check(logits: object, adapter: Adapter) -> None:
    np.testing.assert_allclose(logits, reference(PIXELS, adapter), rtol=1e-4, atol=1e-5)


def slots(service: Service) -> int:
    """Return how many slots of rank 2 the bank has given out; that is pets' rank and no other's."""
    assert isinstance(service.session, SharedSession)
    bank = service.session._bank
    return sum(handle.rank == 2 for handle in bank._live)


async def settle(service: Service) -> None:
    """Wait until the loader's thread has done what it was given."""
    await asyncio.wrap_future(service.loader._thread.submit(int))


def test_a_changed_task_is_another_version_and_an_unchanged_one_is_left_alone(folder: Path) -> None:
    service, newer = open_service(folder), another("pets")

    async def body() -> None:
        first, flowers = served(service, "pets"), served(service, "flowers")
        check(await ask(service, first), make_adapters()[0])
        await service.loader.load("pets")
        assert served(service, "pets") is first
        put(folder, newer)
        await service.loader.load("pets")
        second = served(service, "pets")
        assert (second.version, second.spec) == (2, first.spec)
        check(await ask(service, second), newer)
        assert served(service, "flowers") is flowers
        assert service.loader.index() == [
            IndexEntry("digits", 1, "READY"), IndexEntry("flowers", 1, "READY"), IndexEntry("pets", 2, "READY")
        ]  # fmt: skip
        await settle(service)
        assert slots(service) == 1

    play(service, body)


def test_a_request_gets_the_version_that_it_was_admitted_with_and_its_slot_waits_for_it(folder: Path) -> None:
    """The swap comes while the request's image is decoded, two more come while the engine computes on it."""
    service, versions = open_service(folder), [another("pets", seed) for seed in (50, 51, 52)]

    async def body() -> None:
        (engine,) = fakes.OPENED
        first = served(service, "pets")
        with service.tasks.hold([first]):
            put(folder, versions[0])
            await service.loader.load("pets")
            engine.forget()
            engine.gate.clear()
            old = asyncio.ensure_future(ask(service, first))
            await asyncio.to_thread(engine.wait_entered)
        put(folder, versions[1])
        loading = asyncio.ensure_future(service.loader.load("pets"))
        await asyncio.to_thread(engine.wait_entered)  # the new one is tried beside the run that is held
        assert IndexEntry("pets", 1, "UNLOADING") in service.loader.index()
        engine.gate.set()
        check(await old, make_adapters()[0])
        await loading
        check(await ask(service, served(service, "pets")), versions[1])
        await settle(service)
        assert slots(service) == 1

    play(service, body)


def test_a_slot_is_not_written_while_a_run_reads_it_for_a_client_that_left(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        (engine,) = fakes.OPENED
        engine.forget()
        engine.gate.clear()
        gone = asyncio.ensure_future(ask(service, served(service, "pets")))
        await asyncio.to_thread(engine.wait_entered)
        gone.cancel()
        await asyncio.wait([gone])
        await service.loader.unload("pets")
        await settle(service)
        assert slots(service) == 1
        assert IndexEntry("pets", 1, "UNLOADING") in service.loader.index()
        engine.gate.set()
        while service.tasks.leaving():
            await asyncio.sleep(0)
        await settle(service)
        assert slots(service) == 0
        assert ("pets", 1) not in service.statistics.tasks

    play(service, body)


@pytest.mark.parametrize("form", ["shared", "merged"])
def test_what_is_unloaded_is_answered_no_more_and_comes_back_as_the_same_version(folder: Path, form: str) -> None:
    service = open_service(folder, form)

    async def body() -> None:
        await service.loader.unload("pets")
        await service.loader.unload("pets")
        await service.loader.unload("never heard of")
        assert service.tasks.current.get("pets") is None
        assert IndexEntry("pets", 1, "UNAVAILABLE", "unloaded") in service.loader.index()
        await settle(service)
        assert [engine.closed for engine in fakes.OPENED] == ([True, False, False] if form == "merged" else [False])
        await service.loader.load("pets")
        again = served(service, "pets")
        assert (again.version, again.key) == (1, 3)
        check(await ask(service, again), make_adapters()[0])
        assert len(service.loader.index()) == 3

    play(service, body)


@pytest.mark.parametrize("form", ["shared", "merged"])
@pytest.mark.parametrize("change", ["removed", "replaced"])
def test_a_task_without_a_slot_outlives_its_file_in_the_bundle(folder: Path, form: str, change: str) -> None:
    manifest = bundle.read_manifest(folder)
    names = [record.task.name for record in manifest.tasks]
    service = open_service(folder, form, room=Room(1, frozenset()), settings=Settings(task_memory=0))
    cold = next(name for name in names if not service.slots.warm(served(service, name)))
    adapter = next(adapter for adapter in make_adapters() if adapter.task.name == cold)
    if change == "replaced":
        put(folder, another(cold))
    else:
        drop(folder, cold)
    for path in folder.glob(f"*/{cold}-*"):
        if path.relative_to(folder).as_posix() in manifest.files:
            path.unlink()

    async def body() -> None:
        for name in (*names, cold):  # the others take its slot in between
            logits = await ask(service, served(service, name))
            if name == cold:
                check(logits, adapter)

    play(service, body)


def test_a_merged_graph_is_opened_tried_and_its_old_engine_closed(folder: Path) -> None:
    service = open_service(folder, "merged")

    async def body() -> None:
        manifest = put_graph(folder, bundle.read_manifest(folder), fakes.stand_in("flowers"), "flowers")
        flowers = manifest.tasks[1]
        manifest = replace(manifest, tasks=(manifest.tasks[0], flowers, manifest.tasks[2]))
        bundle.write_manifest(folder, manifest)
        await service.loader.load("flowers")
        assert served(service, "flowers").version == 1  # the same bytes
        bad = put_graph(folder, bundle.read_manifest(folder), fakes.stand_in("pets"), "flowers")
        bundle.write_manifest(folder, bad)
        with pytest.raises(FormatError, match="says it answers task 'pets', the manifest says 'flowers'"):
            await service.loader.load("flowers")
        assert [engine.closed for engine in fakes.OPENED] == [False, False, False, True]
        check(await ask(service, served(service, "flowers")), make_adapters()[1])

    play(service, body)


def _truncated(folder: Path) -> None:
    path = folder / put(folder, another("pets")).tasks[-1].file
    path.write_bytes(path.read_bytes()[:-7])


def _absent(folder: Path) -> None:
    (folder / put(folder, another("pets")).tasks[-1].file).unlink()


def _flipped(folder: Path) -> None:
    path = folder / put(folder, another("pets")).tasks[-1].file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def _labels(folder: Path) -> None:
    manifest = put(folder, another("pets"))
    *others, pets = manifest.tasks
    renamed = replace(pets.task, labels=("x", *pets.task.labels[1:]))
    bundle.write_manifest(folder, replace(manifest, tasks=(*others, replace(pets, task=renamed))))


def _manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text()[:-9])


def _backbone(folder: Path) -> None:
    manifest = put(folder, another("pets"))
    changed = replace(manifest, backbone=replace(manifest.backbone, sha256="e" * 64))
    bundle.write_manifest(folder, changed)


BROKEN: dict[str, Callable[[Path], object]] = {
    "cut off": _truncated,
    "absent": _absent,
    "one bit": _flipped,
    "other labels": _labels,
    "half a manifest": _manifest,
    "another backbone": _backbone,
    "gives NaN": lambda folder: put(folder, spoiled("pets")),
    "gone": lambda folder: drop(folder, "pets"),
}


@pytest.mark.case(
    "B6",
    "a version 2 that is cut off, absent, has one other bit, other labels, half a manifest, another backbone, or "
    "answers NaN",
    "the load says why, and version 1 goes on serving",
)
@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN)
def test_a_broken_version_2_leaves_version_1_serving_and_says_why(
    folder: Path, spoil: Callable[[Path], object]
) -> None:
    service = open_service(folder)

    async def body() -> None:
        first = served(service, "pets")
        spoil(folder)
        with pytest.raises(AtdError) as caught:
            await service.loader.load("pets")
        assert served(service, "pets") is first
        check(await ask(service, first), make_adapters()[0])
        entries = [entry for entry in service.loader.index() if entry.name == "pets"]
        assert entries == [IndexEntry("pets", 1, "READY"), IndexEntry("pets", 2, "UNAVAILABLE", str(caught.value))]
        await settle(service)
        assert slots(service) == 1
        assert sorted(service.session.tasks) == [0, 1, 2]

    play(service, body)


def test_what_the_bundle_lacks_is_404_with_the_nearest_name(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        with pytest.raises(RequestError, match="failed to load 'pet', the bundle holds no such task") as caught:
            await service.loader.load("pet")
        assert caught.value.status == 404
        with pytest.raises(RequestError, match="no file of an adapter folder"):
            await service.loader.put("pet", {"x": b""}, None)
        assert {entry.state for entry in service.loader.index()} == {"READY"}

    play(service, body)


def test_versions_that_come_and_go_are_logged(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not those of the start, which has a line of its own."""
    caplog.set_level(logging.INFO)
    service = open_service(folder)

    async def body() -> None:
        await service.loader.load("pets")  # is served already
        put(folder, another("pets"))
        await service.loader.load("pets")
        await service.loader.unload("pets")
        await service.loader.unload("pets")
        await service.loader.load("pets")

    play(service, body)
    found = [record for record in caplog.records if hasattr(record, "facts")]
    served, withdrawn = "task 'pets' version 2 is served", "task 'pets' version 2 is withdrawn"
    assert [record.getMessage() for record in found] == [served, withdrawn, served]
    assert {record.levelname for record in found} == {"INFO"}
    assert [record.facts for record in found] == [{"task": "pets", "version": "2"}] * 3


def test_what_a_lenient_start_left_out_is_told_to_everybody_and_may_be_loaded_later(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(folder, spoiled("digits"))
    service, whole = open_service(folder, left_out={}), another("digits")

    async def body() -> None:
        reason = "task 'digits' gave logits that are NaN or infinite; the answer is withheld"
        assert IndexEntry("digits", 1, "UNAVAILABLE", reason) in service.loader.index()
        assert f"task 'digits' was not loaded: {reason}" in caplog.text
        assert b'atd_tasks{state="UNAVAILABLE"} 1.0' in service.metrics.render()
        put(folder, whole)
        await service.loader.load("digits")
        check(await ask(service, served(service, "digits")), whole)
        assert b'atd_tasks{state="UNAVAILABLE"} 0.0' in service.metrics.render()

    play(service, body)


def test_a_server_without_a_bundle_loads_nothing() -> None:
    service = Service(make_shared(), Settings())

    async def body() -> None:
        with pytest.raises(RequestError, match="this server has no bundle to load from"):
            await service.loader.load("pets")
        await service.loader.unload("pets")

    play(service, body)


def test_an_engine_that_fails_while_a_task_is_tried_leaves_nothing(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        (engine,) = fakes.OPENED
        put(folder, another("pets"))
        engine.error = EngineError("the device is out of memory")
        with pytest.raises(EngineError, match="out of memory"):
            await service.loader.load("pets")
        engine.error = None
        assert (slots(service), served(service, "pets").version) == (1, 1)
        await service.loader.load("pets")
        assert served(service, "pets").version == 2

    play(service, body)


def test_who_stops_waiting_for_a_load_does_not_stop_it(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        (engine,) = fakes.OPENED
        put(folder, another("pets"))
        engine.forget()
        engine.gate.clear()
        impatient = asyncio.ensure_future(service.loader.load("pets"))
        await asyncio.to_thread(engine.wait_entered)
        impatient.cancel()
        await asyncio.wait([impatient])
        engine.gate.set()
        await service.loader.unload("flowers")  # takes its turn behind the load
        assert served(service, "pets").version == 2

    play(service, body)


def test_traffic_goes_on_while_a_task_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service, reading, go_on = open_service(folder), threading.Event(), threading.Event()
    whole = bundle.read_task

    def slow(*arguments: object) -> Adapter:
        reading.set()
        assert go_on.wait(fakes.WAIT_S)
        return whole(*arguments)  # type: ignore[arg-type]

    async def body() -> None:
        put(folder, another("pets"))
        monkeypatch.setattr(bundle, "read_task", slow)
        loading = asyncio.ensure_future(service.loader.load("pets"))
        await asyncio.to_thread(reading.wait)
        check(await ask(service, served(service, "pets")), make_adapters()[0])
        assert IndexEntry("pets", 2, "LOADING") in service.loader.index()
        go_on.set()
        await loading
        assert served(service, "pets").version == 2

    play(service, body)


def test_a_server_that_ends_changes_nothing_more(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        return None

    play(service, body)

    async def late() -> None:
        for change in (service.loader.load, service.loader.unload):
            with pytest.raises(RequestError, match="shutting down") as caught:
                await change("pets")
            assert caught.value.status == 503

    asyncio.run(late())


@pytest.mark.case(
    "B7", "32 load and unload one name at once, in traffic", "no failed request, whole answers, one slot in the end"
)
def test_whoever_loads_and_unloads_one_name_at_once_the_end_is_one_whole_task(folder: Path) -> None:
    """32 at once, in every order, while requests flow: each answer is that of some version, whole."""
    service, versions = open_service(folder), {seed: another("pets", seed) for seed in range(60, 68)}
    known = [reference(PIXELS, adapter) for adapter in (make_adapters()[0], *versions.values())]
    turns = random.Random(7)

    async def change(number: int) -> None:
        for _ in range(3):
            if turns.random() < 0.3:
                await service.loader.unload("pets")
            else:
                put(folder, versions[60 + number % 8])
                await service.loader.load("pets")

    async def traffic(done: asyncio.Event) -> int:
        answered = 0
        while not done.is_set():
            task = service.tasks.current.get("pets")
            if task is None:
                await asyncio.sleep(0)
                continue
            logits = await ask(service, task)
            assert any(np.allclose(logits, wanted, rtol=1e-4, atol=1e-5) for wanted in known)
            answered += 1
        return answered

    async def body() -> None:
        done = asyncio.Event()
        flows = [asyncio.ensure_future(traffic(done)) for _ in range(4)]
        await asyncio.gather(*(change(number) for number in range(32)))
        await service.loader.load("pets")
        done.set()
        assert sum(await asyncio.gather(*flows)) > 0
        await settle(service)
        assert slots(service) == 1
        assert len(service.session.tasks) == len(service.statistics.tasks) == 3
        check(await ask(service, served(service, "pets")), versions[_seed_in(folder, versions)])

    play(service, body)


def _seed_in(folder: Path, versions: dict[int, Adapter]) -> int:
    manifest = bundle.read_manifest(folder)
    record = next(held for held in manifest.tasks if held.task.name == "pets")
    bias = bundle.read_task(folder, manifest, record).tensors["head.bias"]
    return next(seed for seed, adapter in versions.items() if np.array_equal(adapter.tensors["head.bias"], bias))


@pytest.mark.slow
@pytest.mark.case("B8", "500 times a task is loaded, asked and unloaded", "memory does not grow")
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_memory_does_not_grow_with_loads_and_unloads(tmp_path: Path, form: str) -> None:
    pytest.importorskip("onnx", reason="onnx makes this test's graphs")
    service = open_real(tmp_path, form)
    sizes = []

    async def body() -> None:
        for cycle in range(SETTLING + 501):
            await service.loader.unload("pets")
            await service.loader.load("pets")
            check(await ask(service, served(service, "pets")), make_adapters()[0])
            if cycle >= SETTLING and cycle % 100 == 0:
                await settle(service)
                sizes.append(resident())

    play(service, body, 600)
    # A leak is in every hundred cycles, a heap that still finds its shape in one or two of them.
    assert np.median(np.diff(sizes)) < 100_000, sizes


def test_a_fake_engine_gives_every_version_its_own_answer(folder: Path) -> None:
    """Otherwise the tests above would show nothing."""
    assert isinstance(open_service(folder).session, SharedSession)
    assert isinstance(fakes.OPENED[0], FakeEngine)
    answers = [reference(PIXELS, adapter) for adapter in (make_adapters()[0], another("pets"), another("pets", 51))]
    assert all(np.abs(one - other).max() > 0.1 for one in answers for other in answers if one is not other)
