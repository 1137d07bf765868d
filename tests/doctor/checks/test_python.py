from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.python import check
from tests.doctor.fake_machine import FakeMachine, found, told


@pytest.mark.parametrize(
    ("python", "status"), [((3, 10, 12), "note"), ((3, 11, 0), "ok"), ((3, 13, 9), "ok"), ((3, 14, 0), "note")]
)
def test_versions(python: tuple[int, int, int], status: str) -> None:
    assert told(check, FakeMachine(python=python)) == {"Python": status}


def test_3_10_serves_but_does_not_train() -> None:
    finding = found(check, FakeMachine(python=(3, 10, 12), processor="aarch64"))["Python"]
    assert finding.found == "3.10.12 on Linux aarch64 (/venv/bin/python)"
    assert finding.expected == "3.11 to 3.13 for atd train and atd export; 3.10 runs the device side"


def test_another_system_is_named() -> None:
    assert told(check, FakeMachine(system="Darwin")) == {"Python": "ok", "system": "note"}
