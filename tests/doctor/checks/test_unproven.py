from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.unproven import check
from tests.doctor.fake_machine import FakeMachine, found, server, told


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (FakeMachine(files=server()), "an NVIDIA GPU"),
        (FakeMachine(files={"/etc/nv_tegra_release": "# R36"}, processor="aarch64"), "a Jetson"),
        (FakeMachine(processor="aarch64"), "a processor of kind aarch64"),
    ],
)
def test_what_was_never_run_is_said(machine: FakeMachine, said: str) -> None:
    finding = found(check, machine)["not proven"]
    assert finding.status == "note"
    assert finding.found == f"this is {said}, and nothing of adaptertune-deploy was run on one yet"


def test_an_ordinary_machine_has_no_finding() -> None:
    assert told(check, FakeMachine()) == {}
