from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import TaskRecord
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks import follower
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from adaptertune_deploy.serve.tasks.follower import Follower
from tests.serve.tasks.bundles import FAKE, another, drop, make_bundle, open_service, play, put


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return make_bundle(tmp_path, monkeypatch)


def versions(service: Service) -> dict[str, int]:
    return dict(task.identity for task in service.tasks.current)


def follower_of(service: Service) -> Follower:
    assert service.follower is not None
    return service.follower


def test_what_the_manifest_says_otherwise_is_changed_and_nothing_else(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        await service.loader.unload("digits")
        put(folder, another("pets"))
        drop(folder, "flowers")
        await follower_of(service).follow()
        assert versions(service) == {"pets": 2}  # digits was unloaded by hand and has not changed
        put(folder, another("digits"))
        await follower_of(service).follow()
        assert versions(service) == {"pets": 2, "digits": 2}

    play(service, body)


def test_only_the_tasks_that_are_served_are_followed(folder: Path) -> None:
    service = open_service(folder, names=["pets"])

    async def body() -> None:
        put(folder, another("pets"))
        put(folder, another("digits"))
        await follower_of(service).follow()
        assert versions(service) == {"pets": 2}

    play(service, body)


def test_a_manifest_that_can_not_be_read_is_tried_again_with_its_next_change(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = open_service(folder)

    async def body() -> None:
        whole = bundle.read_manifest(folder)
        (folder / "manifest.json").write_text("{")
        await follower_of(service).follow()
        assert "the bundle can't be followed" in caplog.text
        bundle.write_manifest(folder, whole)
        put(folder, another("pets"))
        await follower_of(service).follow()
        assert versions(service) == {"pets": 2, "flowers": 1, "digits": 1}

    play(service, body)


def test_one_bad_task_holds_up_no_other(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        manifest = put(folder, another("pets"))
        (folder / manifest.tasks[-1].file).unlink()
        put(folder, another("digits"))
        await follower_of(service).follow()
        assert versions(service) == {"pets": 1, "flowers": 1, "digits": 2}
        assert [entry.state for entry in service.loader.index() if entry.name == "pets"] == ["READY", "UNAVAILABLE"]

    play(service, body)


def reasons(service: Service) -> dict[str, str]:
    return {entry.name: entry.reason for entry in service.loader.index() if entry.state == "UNAVAILABLE"}


@pytest.mark.parametrize("watched", [False, True], ids=["asked", "watched"])
def test_a_file_that_comes_after_the_manifest_that_names_it_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, watched: bool
) -> None:
    monkeypatch.setattr(follower, "LOOK_S", 0.001)
    monkeypatch.setattr(follower, "SOON", 10**9)  # its file alone says that it is time
    service = open_service(folder)

    async def body() -> None:
        watching = asyncio.ensure_future(follower_of(service).watch()) if watched else None
        late = folder / put(folder, another("pets")).tasks[-1].file
        data = late.read_bytes()
        late.write_bytes(data[:100])
        await follower_of(service).follow()
        assert "pets" in reasons(service)
        late.unlink()
        await follower_of(service).follow()
        assert versions(service)["pets"] == 1
        late.write_bytes(data)
        if watching is None:
            service.reload()
        while versions(service)["pets"] != 2:
            await asyncio.sleep(0)
        assert reasons(service) == {}
        if watching is not None:
            watching.cancel()

    play(service, body)


def test_a_load_that_failed_is_tried_again_though_nothing_changed_and_says_why_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follower, "LOOK_S", 0.001)
    service = open_service(folder)
    load, tries = service.session.load, 0

    def fails(opener: Opener, record: TaskRecord) -> int:
        nonlocal tries
        tries += 1
        if tries < 5:
            raise EngineError("no memory for it")
        return load(opener, record)

    monkeypatch.setattr(service.session, "load", fails)

    async def body() -> None:
        put(folder, another("pets"))
        watching = asyncio.ensure_future(follower_of(service).watch())
        while versions(service)["pets"] != 2:
            await asyncio.sleep(0)
        watching.cancel()

    play(service, body)
    assert tries == 5
    assert [record.message for record in caplog.records if "was not loaded" in record.message] == [
        "task 'pets' was not loaded: no memory for it"
    ]


def test_who_has_the_bundle_read_is_told_each_time_what_is_wrong_with_it(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = open_service(folder)

    async def body() -> None:
        (folder / put(folder, another("pets")).tasks[-1].file).unlink()
        await follower_of(service).follow(again=True)
        for again, lines in ((True, 1), (False, 2)):
            await follower_of(service).follow(again)
            assert caplog.text.count("task 'pets' was not loaded") == lines
        (folder / "manifest.json").write_text("{")
        for again, lines in ((True, 1), (True, 1), (False, 2)):
            await follower_of(service).follow(again)
            assert caplog.text.count("the bundle can't be followed") == lines

    play(service, body)


def test_what_was_unloaded_by_hand_after_it_failed_stays_so(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        manifest = put(folder, another("pets"))
        data = (folder / manifest.tasks[-1].file).read_bytes()
        (folder / manifest.tasks[-1].file).unlink()
        await follower_of(service).follow()
        await service.loader.unload("pets")
        (folder / manifest.tasks[-1].file).write_bytes(data)
        await follower_of(service).follow()
        assert "pets" not in versions(service)

    play(service, body)


def test_what_was_left_out_at_the_start_comes_once_it_is_whole(folder: Path) -> None:
    file = folder / bundle.read_manifest(folder).tasks[0].file
    data = file.read_bytes()
    file.write_bytes(data[:100])
    service = open_service(folder, left_out={})

    async def body() -> None:
        assert "pets" not in versions(service)
        file.write_bytes(data)
        await follower_of(service).follow()
        assert versions(service) == {"pets": 1, "flowers": 1, "digits": 1}

    play(service, body)


def test_a_watched_bundle_is_followed_as_it_changes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "LOOK_S", 0.001)
    opener = Opener(folder, bundle.read_manifest(folder), FAKE)
    put(folder, another("flowers"))  # before the server looks for the first time
    session = open_from(replace(opener, manifest=bundle.read_manifest(folder)), ["pets", "digits"])
    service = Service(session, Settings(), BundleSource(opener, "shared", watched=True))

    async def body() -> None:
        while "flowers" not in versions(service):
            await asyncio.sleep(0)
        put(folder, another("pets"))
        while versions(service)["pets"] != 2:
            await asyncio.sleep(0)
        drop(folder, "digits")
        while "digits" in versions(service):
            await asyncio.sleep(0)

    play(service, body)


def test_a_server_reloads_when_it_is_told_to(folder: Path) -> None:
    service = open_service(folder)

    async def body() -> None:
        put(folder, another("pets"))
        service.reload()
        while versions(service)["pets"] != 2:
            await asyncio.sleep(0)

    play(service, body)
    service.reload()
