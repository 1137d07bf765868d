from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.disk import check
from tests.doctor.fake_machine import FakeMachine, found, told


@pytest.mark.parametrize(("room", "status"), [(99_000_000, "problem"), (101_000_000, "note"), (2_000_000_000, "ok")])
def test_room(room: int, status: str) -> None:
    assert told(check, FakeMachine(room=room)) == {"cache folder": status, "current folder": status}


def test_a_cache_that_can_not_be_written_to() -> None:
    machine = FakeMachine(cache="/root/.cache/a", locked=("/root/.cache/a",))
    finding = found(check, machine)["cache folder"]
    assert (finding.status, finding.fix) == ("problem", "say another one: ATD_CACHE=FOLDER")
    assert finding.found == "/root/.cache/a can't be written to"
    assert told(check, machine)["current folder"] == "ok"


def test_a_current_folder_that_can_not_be_written_to() -> None:
    finding = found(check, FakeMachine(locked=(".",)))["current folder"]
    assert (finding.status, finding.fix) == ("problem", "go to another one with cd")


def test_a_disk_that_does_not_tell_is_left_out() -> None:
    assert told(check, FakeMachine(room=None)) == {}
