from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle import folder as bundle
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
