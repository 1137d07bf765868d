from __future__ import annotations

from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.sessions.room import ROOM_FOR_ALL, Room
from tests.builders import write_bundle
from tests.serve.fakes import make_adapters


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return write_bundle(tmp_path, make_adapters())


def names(room: Room, manifest: Manifest) -> list[str]:
    return [record.task.name for record in room.sorted(manifest.tasks)]


def test_what_is_pinned_comes_first(manifest: Manifest) -> None:
    assert names(ROOM_FOR_ALL, manifest) == ["pets", "flowers", "digits"]
    assert names(Room(2, frozenset({"digits"})), manifest) == ["digits", "pets", "flowers"]
    assert names(Room(3, frozenset({"pets", "flowers", "digits"})), manifest) == ["pets", "flowers", "digits"]


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (Room(2, frozenset({"digit"})), "--pin names no served task 'digit'. Did you mean 'digits'?"),
        (
            Room(1, frozenset({"digits"})),
            "--pin names 1 tasks, so none of 1 slots is left for the others",
        ),
    ],
)
def test_pins_that_can_not_hold_are_refused(manifest: Manifest, room: Room, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        room.sorted(manifest.tasks)
    assert str(caught.value).startswith(text)
