from __future__ import annotations

import pytest

from adaptertune_deploy.doctor.checks.torch import check
from tests.doctor.fake_machine import FakeMachine, found, server, told, torch_for


@pytest.mark.parametrize(
    ("cuda", "gpu", "status"),
    [("13.2", False, "note"), ("13.2", True, "ok"), (None, True, "note"), (None, False, "ok")],
)
def test_the_build_against_the_gpu(cuda: str | None, gpu: bool, status: str) -> None:
    machine = FakeMachine(packages={"torch": "2.15.0"}, texts=torch_for(cuda), files=server() if gpu else {})
    assert told(check, machine) == {"torch": status}


def test_what_is_said() -> None:
    machine = FakeMachine(packages={"torch": "2.15.0"}, texts=torch_for("13.2"))
    assert found(check, machine)["torch"].found == "2.15.0, built for CUDA 13, and no NVIDIA GPU works here"
    assert told(check, FakeMachine()) == {}
